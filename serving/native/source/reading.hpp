// What is read: JSON as it mostly comes, within bounds that a Cursor keeps. Whatever is unusual (an escape, a sign that
// msgspec would refuse, a number that needs more than 64 bits) answers false, and Python looks at it.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace portside {

struct Text {
    const char* at = nullptr;
    size_t size = 0;

    bool is(const char* other, size_t other_size) const {
        return size == other_size && std::memcmp(at, other, size) == 0;
    }
    template <size_t N>
    bool is(const char (&literal)[N]) const {
        return is(literal, N - 1);
    }
};

enum class Kind : uint8_t { whole, real, truth };

// One value of a body, before anybody asked whether the model takes it.
struct Value {
    union {
        double real;
        int64_t whole;  // also of a truth: 0 or 1
    };
    Kind kind;
};

// Reads forwards and never past `end`.
class Cursor {
  public:
    Cursor(const char* begin, const char* end) : at_(begin), end_(end) {}

    bool at_end() const { return at_ == end_; }
    size_t left() const { return static_cast<size_t>(end_ - at_); }
    char peek() const { return at_ < end_ ? *at_ : '\0'; }  // no JSON has a zero byte

    void skip_space() {
        while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
    }

    // This sign, after any space.
    bool take(char wanted) {
        skip_space();
        if (at_ == end_ || *at_ != wanted) return false;
        ++at_;
        return true;
    }

    template <size_t N>
    bool take_word(const char (&word)[N]) {
        if (left() < N - 1 || std::memcmp(at_, word, N - 1) != 0) return false;
        at_ += N - 1;
        return true;
    }

    // What stands before this sign, which is taken too.
    bool take_until(char sign, Text& text) {
        const void* found = std::memchr(at_, sign, left());
        if (!found) return false;
        text = Text{at_, static_cast<size_t>(static_cast<const char*>(found) - at_)};
        at_ += text.size + 1;
        return true;
    }

    // A line of a head; a bare line feed or carriage return within it is no sign that a header may have.
    bool take_line(Text& text) {
        if (!take_until('\n', text) || text.size == 0 || text.at[text.size - 1] != '\r') return false;
        --text.size;
        return true;
    }

    // A string without escapes. Its bytes are not checked to be UTF-8: who uses them compares them with known ones, or
    // asks for ASCII.
    bool take_string(Text& text) {
        if (!take('"')) return false;
        const char* begin = at_;
        while (at_ < end_ && *at_ != '"') {
            if (*at_ == '\\' || static_cast<unsigned char>(*at_) < 0x20) return false;
            ++at_;
        }
        if (at_ == end_) return false;
        text = Text{begin, static_cast<size_t>(at_ - begin)};
        ++at_;
        return true;
    }

    // A count or a dimension: digits only.
    bool take_size(int64_t& size) {
        skip_space();
        const char* begin = at_;
        size = 0;
        while (at_ < end_ && *at_ >= '0' && *at_ <= '9' && at_ - begin < 12) size = size * 10 + (*at_++ - '0');
        return at_ > begin && (at_ - begin == 1 || *begin != '0') && !is_number_sign(peek());
    }

    bool take_value(Value& value) {
        skip_space();
        if (take_word("true")) return truth(value, 1);
        if (take_word("false")) return truth(value, 0);
        return take_number(value);
    }

  private:
    static bool is_digit(char sign) { return sign >= '0' && sign <= '9'; }
    static bool is_number_sign(char sign) {
        return is_digit(sign) || sign == '.' || sign == 'e' || sign == 'E' || sign == '+' || sign == '-';
    }
    static bool truth(Value& value, int64_t is_true) {
        value.whole = is_true;
        value.kind = Kind::truth;
        return true;
    }

    bool take_number(Value& value);  // numbers.cpp

    const char* at_;
    const char* end_;
};

}  // namespace portside
