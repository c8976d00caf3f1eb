"""Protocol Buffers messages made at run time from declarations: no generated files, no compiler.

A declaration is written as in a .proto file, without the braces: `string name = 1; map<string, Thing> things = 2`.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import Message

FIELD = re.compile(
    r"(?:(?P<repeated>repeated) )?(?:map<(?P<key>\w+), (?P<value>[\w.]+)>|(?P<type>[\w.]+))"
    r" (?P<name>\w+) = (?P<number>\d+)"
)
ONEOF = re.compile(r"oneof (\w+) \{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service, by its messages' names."""

    name: str
    request: str
    response: str
    is_stream: bool = False  # both ways
    is_told_on: bool = False  # many answers to one request


@dataclass(frozen=True, slots=True)
class Declared:
    """One file of declarations; a dotted name is that of a message or an enum within the message before the dot."""

    name: str
    package: str
    messages: Mapping[str, str]
    enums: Mapping[str, Sequence[str]]
    services: Mapping[str, Sequence[Method]]

    def file(self) -> FileDescriptorProto:
        """The descriptor of the file, as a compiler would make it. Raises `ValueError` for what is none."""
        file = FileDescriptorProto(name=self.name, package=self.package, syntax="proto3")
        made: dict[str, DescriptorProto] = {}
        for name, fields in self.messages.items():
            outer, _, inner = name.rpartition(".")
            message = made[outer].nested_type.add() if outer else file.message_type.add()
            message.name, made[name] = inner, message
            self._fill(message, name, fields)
        for name, values in self.enums.items():
            outer, _, inner = name.rpartition(".")
            enum = (made[outer] if outer else file).enum_type.add(name=inner)
            for number, value in enumerate(values):
                enum.value.add(name=value, number=number)
        for name, methods in self.services.items():
            service = file.service.add(name=name)
            for method in methods:
                service.method.add(
                    name=method.name,
                    input_type=f".{self.package}.{method.request}",
                    output_type=f".{self.package}.{method.response}",
                    client_streaming=method.is_stream,
                    server_streaming=method.is_stream or method.is_told_on,
                )
        return file

    def _fill(self, message: DescriptorProto, name: str, fields: str) -> None:
        for choice, within in ONEOF.findall(fields):
            message.oneof_decl.add(name=choice)
            for found in _fields(within):
                self._field(message, found, name).oneof_index = len(message.oneof_decl) - 1
        for found in _fields(ONEOF.sub("", fields)):
            self._field(message, found, name)

    def _field(self, message: DescriptorProto, found: re.Match[str], name: str) -> FieldDescriptorProto:
        is_many = bool(found["repeated"] or found["key"])
        field = message.field.add(
            name=found["name"],
            number=int(found["number"]),
            label=FieldDescriptorProto.LABEL_REPEATED if is_many else FieldDescriptorProto.LABEL_OPTIONAL,
        )
        if not found["key"]:
            self._set_type(field, found["type"])
            return field
        entry = message.nested_type.add(name=f"{found['name'].title().replace('_', '')}Entry")
        entry.options.map_entry = True
        for number, part in enumerate(("key", "value"), 1):
            column = entry.field.add(name=part, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
            self._set_type(column, found[part])
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{self.package}.{name}.{entry.name}"
        return field

    def _set_type(self, field: FieldDescriptorProto, kind: str) -> None:
        if kind in self.messages:
            field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{self.package}.{kind}"
        elif kind in self.enums:
            field.type, field.type_name = FieldDescriptorProto.TYPE_ENUM, f".{self.package}.{kind}"
        else:
            field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")


class Messages:
    """The classes of declared messages, in a pool of their own: another file may declare the same names."""

    def __init__(self, *declared: Declared) -> None:
        self.pool = descriptor_pool.DescriptorPool()
        self._classes: dict[str, type[Message]] = {}
        for each in declared:
            self.add(each)

    def __getitem__(self, name: str) -> type[Message]:
        """The class of a message."""
        return self._classes[name]

    @property
    def names(self) -> Collection[str]:
        """The names of the messages."""
        return self._classes

    def add(self, declared: Declared) -> None:
        """Declare another file as well, whose messages have other names."""
        self.pool.Add(declared.file())
        for name in declared.messages:
            found = self.pool.FindMessageTypeByName(f"{declared.package}.{name}")
            self._classes[name] = message_factory.GetMessageClass(found)


def _fields(text: str) -> Iterator[re.Match[str]]:
    for part in filter(None, map(str.strip, text.split(";"))):
        found = FIELD.fullmatch(part)
        if found is None:
            raise ValueError(f"this declares no field: {part!r}")
        yield found
