// What is written, into memory whose end a Writer knows: what does not fit is no answer at all.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

namespace portside {

class Writer {
  public:
    Writer(char* begin, char* end) : begin_(begin), at_(begin), end_(end) {}

    size_t size() const { return static_cast<size_t>(at_ - begin_); }
    bool is_whole() const { return !failed_; }
    void fail() { failed_ = true; }

    void put(char sign) {
        if (at_ == end_) {
            failed_ = true;
        } else {
            *at_++ = sign;
        }
    }
    void text(const char* from, size_t size) {
        if (static_cast<size_t>(end_ - at_) < size) {
            failed_ = true;
        } else if (size) {
            std::memcpy(at_, from, size);
            at_ += size;
        }
    }
    void text(const std::string& from) { text(from.data(), from.size()); }
    template <size_t N>
    void text(const char (&literal)[N]) {
        text(literal, N - 1);
    }

    void real(double number);  // finite; numbers.cpp
    void whole(int64_t number);
    void natural(uint64_t number);

  private:
    void lay_out(const char* digits, int count, int exponent);

    char* begin_;
    char* at_;
    char* end_;
    bool failed_ = false;
};

}  // namespace portside
