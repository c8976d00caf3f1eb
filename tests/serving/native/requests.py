"""Requests by chance: right ones in many spellings, nearly right ones, and hostile ones. A seed tells which."""

import json
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any, cast

from serving.signature import InputField, Signature
from tests.serving.native.both_ways import INFER, KSERVE, PREDICT

HARMLESS = (
    b"user-agent: a/1", b"Accept: */*", b"accept: application/json", b"Content-Type: application/json",
    b"Connection: keep-alive", b"accept-encoding: gzip, deflate", b"X-Request-Id: abc", b"traceparent: 00-1",
    b"portside-timeout: 30s", b"Content-type:application/json",
)  # fmt: skip
TELLING = (
    b"connection: close", b"content-type: text/csv", b"accept: text/csv", b"expect: 100-continue", b"te: trailers",
    b"transfer-encoding: chunked", b"content-length: 3", b"content-encoding: gzip", b"upgrade: h2c", b"x: \xff",
    b"inference-header-content-length: 10", b"portside-timeout: 0s", b"host: y", b"accept: application/x-ndjson",
    b"authorization: Bearer x", b" folded: x", b"bad name: x", b"cookie: a=b", b"portside-timeout: never",
)  # fmt: skip
ODD_TEXTS = (
    "null", "NaN", "-", "01", "1.", ".5", "1e", "1e999", "-1e-999", "1E+2", "-0", "-0.0", "1e22", "1e23", "+1", "0x10",
    "99999999999999999999", "123456789012345678", "1234567890123456789", "3.4028235677973366e38", "1e39", "4e-324",
    "0.1e1", "9007199254740993.0", "9007199254740993", "true", "false", '"1"', "[]", "[1]", "{}", "256", "-129", "1.0",
    "2.5", "65536", "4294967296", "9223372036854775807", "0.30000001192092896", "1e-5", "0.00001", "16777217",
)  # fmt: skip
DATATYPES = ("FP32", "FP64", "INT64", "BYTES", "fp32")


class Chance:
    """Makes requests for one signature."""

    def __init__(self, signature: Signature, seed: int) -> None:
        self._fields, self._of = signature.inputs, random.Random(seed)
        values = sum(math.prod(field.shape[1:]) for field in self._fields)
        self._odd = 0.1 / values  # how often a value is none that its input takes

    def request(self) -> bytes:
        """One request: mostly a right one, else with something changed in it."""
        target = self._of.choice([PREDICT, INFER, INFER, KSERVE])
        body = {PREDICT: self._prediction, INFER: self._tensors, KSERVE: self._instances}[target]()
        text = self._spelled(body)
        if self._of.random() < 0.2:
            text = self._spoiled(text)
        data = self._framed(text.encode("utf-8", "surrogatepass"), target)
        if self._of.random() < 0.1:
            data = self._bitten(data)
        return data

    def _value(self, field: InputField) -> object:
        chance = self._of
        if chance.random() < self._odd:
            return chance.choice([None, "x", [1], {}, True, 1.5, 10**30, -(10**18), 1e300, 2**53 + 1])
        if field.datatype == "BOOL":
            return chance.random() < 0.5
        if field.datatype.startswith(("INT", "UINT")):
            return chance.choice([0, 1, 7, 100, 127, chance.randrange(0, 128)])
        return chance.choice([0, 1, -3, 5.1, -0.0, 1e-7, chance.uniform(-10, 10), round(chance.uniform(0, 9), 2)])

    def _nested(self, field: InputField, shape: Sequence[int]) -> object:
        if not shape:
            return self._value(field)
        if shape == (1,) and self._of.random() < 0.5:
            return self._value(field)
        size = shape[0] + (self._of.random() < self._odd)
        return [self._nested(field, shape[1:]) for _ in range(size)]

    def _record(self) -> dict[str, object]:
        record: dict[str, object] = {}
        for field in self._fields:
            if field.features and self._of.random() < 0.5:
                record |= {name: self._value(field) for name in field.features}
            else:
                record[field.name] = self._nested(field, field.shape[1:])
        if self._of.random() < 0.2:
            record = dict(self._of.sample(list(record.items()), len(record)))
        if self._of.random() < 0.03:
            record.pop(self._of.choice(list(record)))
        if self._of.random() < 0.03:
            record["stranger"] = 1
        return record

    def _prediction(self) -> object:
        form = self._of.randrange(4)
        if form == 0:
            return {"inputs": self._record()}
        if form == 1:
            return {"inputs": [self._record() for _ in range(self._of.choice([0, 1, 2, 3, 20]))]}
        if form == 2:
            record = self._record()
            rows = [list(record.values()), *(list(self._record().values()) for _ in range(self._of.randrange(2)))]
            return {"columns": list(record), "data": rows}
        return {"inputs": self._record(), **cast("dict[str, object]", self._of.choice([{}, {"columns": []}, {"x": 1}]))}

    def _instances(self) -> object:
        records = [self._record() for _ in range(self._of.choice([0, 1, 1, 2, 10]))]
        if self._of.random() < 0.4:
            return {"instances": [next(iter(record.values()), None) for record in records]}
        return {"instances": records, **cast("dict[str, object]", self._of.choice([{}, {}, {"parameters": {}}]))}

    def _tensors(self) -> object:
        records, chance = self._of.choice([1, 1, 1, 2, 5, 30]), self._of
        inputs = []
        for field in self._fields:
            data: Any = [self._nested_whole(field, field.shape[1:]) for _ in range(records)]
            if chance.random() < 0.7:
                data = list(_flat(data))
            shape = [records + (chance.random() < 0.02), *field.shape[1:]]
            members = {"name": field.name, "shape": shape, "datatype": field.datatype, "data": data}
            if chance.random() < 0.02:
                members["datatype"] = chance.choice(DATATYPES)
            if chance.random() < 0.1:
                members = {"parameters": chance.choice([{}, {}, None, {"binary_data_size": 4}, 1]), **members}
                members = {"name": members.pop("name"), **members}
            if chance.random() < 0.05:
                members = dict(chance.sample(list(members.items()), len(members)))
            inputs.append(members)
        body: dict[str, object] = {"inputs": inputs}
        if chance.random() < 0.3:
            body["id"] = chance.choice(["a", "req-1", "", "é", 'a"b', "x" * 300, "\x7f", 3, None])
        if chance.random() < 0.1:
            body["parameters"] = chance.choice([{}, None, {"binary_data_output": False}, {"x": 1}, []])
        if chance.random() < 0.03:
            body["outputs"] = []
        return dict(chance.sample(list(body.items()), len(body))) if chance.random() < 0.2 else body

    def _nested_whole(self, field: InputField, shape: Sequence[int]) -> object:
        return [self._nested_whole(field, shape[1:]) for _ in range(shape[0])] if shape else self._value(field)

    def _spelled(self, body: object) -> str:
        separators = self._of.choice([(",", ":"), (", ", ": "), (" ,\n\t", "\r :  ")])
        text = json.dumps(body, separators=separators, ensure_ascii=self._of.random() < 0.5)
        return self._of.choice(["", "", " ", "\n"]) + text + self._of.choice(["", "", " ", "\r\n", "x"][:4])

    def _spoiled(self, text: str) -> str:
        """With one token or sign replaced, left out, doubled, or another number in its place."""
        chance, at = self._of, self._of.randrange(len(text))
        way = chance.randrange(5)
        if way == 0:
            numbers = [index for index, sign in enumerate(text) if sign.isdigit()]
            at = chance.choice(numbers or [at])
            return text[:at] + chance.choice(ODD_TEXTS) + text[at + 1 :]
        if way == 1:
            return text[:at] + text[at + 1 :]
        if way == 2:
            return text[:at] + chance.choice('{}[],:"\\ \x00\x1fé1eE.-+tfn') + text[at:]
        if way == 3:
            return text[:at] + chance.choice('{}[],:"\\ 0') + text[at + 1 :]
        end = chance.randrange(at, min(len(text), at + 30) + 1)
        return text[:end] + text[at:end] + text[end:]

    def _framed(self, body: bytes, target: bytes) -> bytes:
        chance = self._of
        headers = [chance.choice([b"host: x", b"Host: localhost:80", b"host:"])]
        headers += chance.sample(HARMLESS, chance.randrange(4))
        if chance.random() < 0.1:
            headers.append(chance.choice(TELLING))
        size = len(body) + (chance.choice([-1, 1, 1000]) if chance.random() < 0.02 else 0)
        headers.append(b"%b: %d" % (chance.choice([b"content-length", b"Content-Length"]), max(size, 0)))
        chance.shuffle(headers)
        if chance.random() < 0.03:
            target = chance.choice([target + b"?a=b", target + b"/", b"/", b"http://x" + target, b"/%70redict", INFER])
        line = chance.choice([b"POST"] * 20 + [b"GET", b"PUT", b"post"]) + b" " + target + b" HTTP/1.1"
        return b"\r\n".join([line, *headers]) + b"\r\n\r\n" + body

    def _bitten(self, data: bytes) -> bytes:
        """Cut short, with a byte changed, or with more behind it."""
        way, at = self._of.randrange(3), self._of.randrange(len(data))
        if way == 0:
            return data[:at]
        if way == 1:
            return data[:at] + bytes([self._of.randrange(256)]) + data[at + 1 :]
        return data + self._of.choice([b"\r\n", b"x", data])


def _flat(value: object) -> Iterator[object]:
    if isinstance(value, list):
        for each in value:
            yield from _flat(each)
    else:
        yield value
