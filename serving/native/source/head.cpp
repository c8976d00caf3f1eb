#include "head.hpp"

namespace portside {

namespace {

enum class Meaning { none, unknown, host, length, type, accept, coding, connection, authorization, timeout };

struct Known {
    const char* name;
    Meaning meaning;
};

// What any other header asks, Python looks up. A duplicate of one that means something is Python's, too.
constexpr Known KNOWN[] = {
    {"host", Meaning::host},
    {"content-length", Meaning::length},
    {"content-type", Meaning::type},
    {"accept", Meaning::accept},
    {"accept-encoding", Meaning::coding},
    {"connection", Meaning::connection},
    {"authorization", Meaning::authorization},
    {"portside-timeout", Meaning::timeout},
    {"user-agent", Meaning::none},
    {"accept-language", Meaning::none},
    {"cache-control", Meaning::none},
    {"origin", Meaning::none},
    {"pragma", Meaning::none},
    {"referer", Meaning::none},
    {"traceparent", Meaning::none},
    {"tracestate", Meaning::none},
    {"x-forwarded-for", Meaning::none},
    {"x-forwarded-host", Meaning::none},
    {"x-forwarded-proto", Meaning::none},
    {"x-real-ip", Meaning::none},
    {"x-request-id", Meaning::none},
};

char lower(char sign) { return sign >= 'A' && sign <= 'Z' ? static_cast<char>(sign + ('a' - 'A')) : sign; }

bool is_alike(const Text& text, const char* known) {
    for (size_t at = 0; at < text.size; ++at) {
        if (known[at] == '\0' || lower(text.at[at]) != known[at]) return false;
    }
    return known[text.size] == '\0';
}

Meaning meaning_of(const Text& name) {
    for (const Known& known : KNOWN) {
        if (is_alike(name, known.name)) return known.meaning;
    }
    return Meaning::unknown;
}

bool is_plain(char sign) { return (sign >= 0x20 && sign < 0x7f) || sign == '\t'; }

// A length that is one in any reading: digits, no zero before them, less than ten million.
bool length_of(const Text& value, size_t& bytes) {
    if (value.size == 0 || value.size > 7 || (value.at[0] == '0' && value.size > 1)) return false;
    bytes = 0;
    for (size_t at = 0; at < value.size; ++at) {
        if (value.at[at] < '0' || value.at[at] > '9') return false;
        bytes = bytes * 10 + static_cast<size_t>(value.at[at] - '0');
    }
    return true;
}

// A time that is not over before the request is read: it begins with a digit that is no zero.
bool is_some_time(const Text& value) { return value.size > 0 && value.at[0] >= '1' && value.at[0] <= '9'; }

// Whatever character set it says, JSON has but one.
bool is_json(const Text& value) {
    constexpr char name[] = "application/json";
    constexpr size_t size = sizeof name - 1;
    if (value.size < size || !Text{value.at, size}.is(name)) return false;
    return value.size == size || value.at[size] == ';';
}

bool take_meaning(Meaning meaning, const Text& value, Head& head) {
    switch (meaning) {
        case Meaning::none:
        case Meaning::host: return true;
        case Meaning::length: return length_of(value, head.body_bytes);
        case Meaning::type: return is_json(value);
        case Meaning::accept: return value.is("*/*") || value.is("application/json");
        case Meaning::coding: head.may_be_coded = true; return true;
        case Meaning::connection: head.says_keep_alive = true; return is_alike(value, "keep-alive");
        case Meaning::authorization: head.authorization = value; return true;
        case Meaning::timeout: return is_some_time(value);
        case Meaning::unknown: break;
    }
    return false;
}

bool take_header(Text line, Head& head, uint32_t& seen) {
    const void* colon = std::memchr(line.at, ':', line.size);
    if (!colon) return false;
    const Text name{line.at, static_cast<size_t>(static_cast<const char*>(colon) - line.at)};
    Text value{name.at + name.size + 1, line.size - name.size - 1};
    for (size_t at = 0; at < value.size; ++at) {
        if (!is_plain(value.at[at])) return false;
    }
    while (value.size && (*value.at == ' ' || *value.at == '\t')) {
        ++value.at;
        --value.size;
    }
    while (value.size && (value.at[value.size - 1] == ' ' || value.at[value.size - 1] == '\t')) --value.size;
    const Meaning meaning = meaning_of(name);
    const uint32_t bit = uint32_t{1} << static_cast<uint32_t>(meaning);
    if (meaning != Meaning::none && (seen & bit)) return false;
    seen |= bit;
    return take_meaning(meaning, value, head);
}

}  // namespace

bool parse_head(Cursor& request, Head& head) {
    if (!request.take_word("POST ") || !request.take_until(' ', head.target)) return false;
    if (!request.take_word("HTTP/1.1\r\n")) return false;
    uint32_t seen = 0;
    Text line;
    while (request.take_line(line)) {
        if (line.size == 0) {
            const uint32_t needed = uint32_t{1} << static_cast<uint32_t>(Meaning::host) |
                                    uint32_t{1} << static_cast<uint32_t>(Meaning::length);
            return (seen & needed) == needed;
        }
        if (!take_header(line, head, seen)) return false;
    }
    return false;
}

}  // namespace portside
