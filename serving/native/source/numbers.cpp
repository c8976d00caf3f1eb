// Numbers there and back, exactly as Python's own way has them: the nearest double of a text, and the shortest text of
// a double, laid out as msgspec lays it out.
#include <charconv>
#include <system_error>

#include "reading.hpp"
#include "writing.hpp"

namespace portside {

namespace {

// libc++ has reading doubles since its version 20, and does not say so by the standard's own macro.
#if defined(__cpp_lib_to_chars) || (defined(_LIBCPP_VERSION) && _LIBCPP_VERSION >= 200000)
bool nearest(const char* begin, const char* end, double& real) {
    const std::from_chars_result read = std::from_chars(begin, end, real);
    return read.ec == std::errc() && read.ptr == end;  // also out of range is Python's to judge
}
#else
bool nearest(const char*, const char*, double&) { return false; }
#endif

// Powers of ten that a double holds exactly (Clinger 1990): one multiplication or division rounds once.
constexpr double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                           1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr int MOST_TENS = 22;
constexpr uint64_t EXACT = uint64_t{1} << 53;
constexpr int MOST_DIGITS = 18;  // of a whole number that surely fits into 64 bits
constexpr int LEAST_DECIMAL = -5, MOST_DECIMAL = 15;  // exponents of what msgspec writes without one

}  // namespace

bool Cursor::take_number(Value& value) {
    const char* begin = at_;
    const bool is_negative = peek() == '-';
    if (is_negative) ++at_;
    const char* first = at_;
    uint64_t digits = 0;
    while (is_digit(peek())) digits = digits * 10 + static_cast<uint64_t>(*at_++ - '0');
    int count = static_cast<int>(at_ - first > 100 ? 100 : at_ - first);
    if (count == 0 || (count > 1 && *first == '0')) return false;
    int exponent = 0;
    bool is_real = false;
    if (peek() == '.') {
        ++at_;
        is_real = true;
        const char* point = at_;
        while (is_digit(peek())) digits = digits * 10 + static_cast<uint64_t>(*at_++ - '0');
        if (at_ == point || at_ - point > 100) return false;
        exponent = -static_cast<int>(at_ - point);
        count -= exponent;
    }
    if (peek() == 'e' || peek() == 'E') {
        ++at_;
        is_real = true;
        const bool is_small = peek() == '-';
        if (is_small || peek() == '+') ++at_;
        const char* power = at_;
        int given = 0;
        while (is_digit(peek()) && at_ - power < 4) given = given * 10 + (*at_++ - '0');
        if (at_ == power) return false;
        exponent += is_small ? -given : given;
    }
    if (is_number_sign(peek())) return false;
    if (!is_real) {
        if (count > MOST_DIGITS) return false;
        value.whole = is_negative ? -static_cast<int64_t>(digits) : static_cast<int64_t>(digits);
        value.kind = Kind::whole;
        return true;
    }
    value.kind = Kind::real;
    if (count <= MOST_DIGITS && digits <= EXACT && exponent >= -MOST_TENS && exponent <= MOST_TENS) {
        const double whole = static_cast<double>(digits);
        const double size = exponent < 0 ? whole / TENS[-exponent] : whole * TENS[exponent];
        value.real = is_negative ? -size : size;
        return true;
    }
    return nearest(begin, at_, value.real);
}

void Writer::real(double number) {
    char text[32];  // "-d.dddddddddddddddde-ddd" has 24
    const std::to_chars_result written = std::to_chars(text, text + sizeof text, number, std::chars_format::scientific);
    if (written.ec != std::errc()) {
        fail();
        return;
    }
    const char* at = text;
    if (*at == '-') {
        put('-');
        ++at;
    }
    char digits[20];
    int count = 0;
    for (; at < written.ptr && *at != 'e'; ++at) {
        if (*at != '.' && count < 20) digits[count++] = *at;
    }
    int exponent = 0;
    const char* power = at + 2 <= written.ptr ? at + 2 : written.ptr;  // behind the e and its sign
    const bool is_small = at + 1 < written.ptr && at[1] == '-';
    for (; power < written.ptr; ++power) exponent = exponent * 10 + (*power - '0');
    lay_out(digits, count, is_small ? -exponent : exponent);
}

void Writer::lay_out(const char* digits, int count, int exponent) {
    if (exponent < LEAST_DECIMAL || exponent > MOST_DECIMAL) {
        put(digits[0]);
        if (count > 1) {
            put('.');
            text(digits + 1, static_cast<size_t>(count - 1));
        }
        put('e');
        whole(exponent);
        return;
    }
    if (exponent < 0) {
        text("0.");
        for (int zeros = -exponent - 1; zeros > 0; --zeros) put('0');
        text(digits, static_cast<size_t>(count));
        return;
    }
    const int before = exponent + 1;
    for (int place = 0; place < before; ++place) put(place < count ? digits[place] : '0');
    put('.');
    if (count > before) {
        text(digits + before, static_cast<size_t>(count - before));
    } else {
        put('0');
    }
}

void Writer::whole(int64_t number) {
    char digits[24];
    const std::to_chars_result written = std::to_chars(digits, digits + sizeof digits, number);
    text(digits, static_cast<size_t>(written.ptr - digits));
}

void Writer::natural(uint64_t number) {
    char digits[24];
    const std::to_chars_result written = std::to_chars(digits, digits + sizeof digits, number);
    text(digits, static_cast<size_t>(written.ptr - digits));
}

}  // namespace portside
