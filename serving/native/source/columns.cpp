// The validate step: each value must be of its input's type and range, and goes into the engine's buffer as that.
#include <cfloat>
#include <limits>

#include "model.hpp"

namespace portside {

namespace {

template <typename T>
bool put_whole(const Value& value, char* to) {
    if (value.kind != Kind::whole) return false;
    if (value.whole < 0 ? !std::numeric_limits<T>::is_signed : false) return false;
    const bool fits = sizeof(T) == 8 || (value.whole >= static_cast<int64_t>(std::numeric_limits<T>::min()) &&
                                         value.whole <= static_cast<int64_t>(std::numeric_limits<T>::max()));
    const T number = static_cast<T>(value.whole);
    if (fits) std::memcpy(to, &number, sizeof number);
    return fits;
}

template <typename T>
bool put_real(const Value& value, char* to, double most) {
    if (value.kind == Kind::truth) return false;
    const double number = value.kind == Kind::whole ? static_cast<double>(value.whole) : value.real;
    if (!(number >= -most && number <= most)) return false;
    const T narrowed = static_cast<T>(number);
    std::memcpy(to, &narrowed, sizeof narrowed);
    return true;
}

}  // namespace

bool put(Datatype datatype, const Value& value, char* to) {
    switch (datatype) {
        case Datatype::truth:
            *to = static_cast<char>(value.whole);
            return value.kind == Kind::truth;
        case Datatype::uint8: return put_whole<uint8_t>(value, to);
        case Datatype::uint16: return put_whole<uint16_t>(value, to);
        case Datatype::uint32: return put_whole<uint32_t>(value, to);
        case Datatype::uint64: return put_whole<uint64_t>(value, to);
        case Datatype::int8: return put_whole<int8_t>(value, to);
        case Datatype::int16: return put_whole<int16_t>(value, to);
        case Datatype::int32: return put_whole<int32_t>(value, to);
        case Datatype::int64: return put_whole<int64_t>(value, to);
        case Datatype::fp32: return put_real<float>(value, to, FLT_MAX);
        case Datatype::fp64: return put_real<double>(value, to, DBL_MAX);
        case Datatype::code: break;
    }
    return false;
}

namespace {

// What is too long for a double to tell from its neighbours is compared by Python.
bool is_inside(const Input& input, const Value& value) {
    constexpr int64_t LARGEST = int64_t{1} << 53;
    if (value.kind == Kind::whole && (value.whole < -LARGEST || value.whole > LARGEST)) return false;
    const double number = value.kind == Kind::whole ? static_cast<double>(value.whole) : value.real;
    return number >= input.least && number <= input.greatest;
}

}  // namespace

bool validate(const Model& model, const Values& values, int64_t records) {
    for (const Input& input : model.inputs) {
        const size_t item = ITEM_BYTES[static_cast<size_t>(input.datatype)];
        char* to = input.buffer;
        for (int64_t record = 0; record < records; ++record) {
            const Value* from = &values.of[static_cast<size_t>(record) * model.width + input.offset];
            for (size_t at = 0; at < input.width; ++at, to += item) {
                if (!put(input.datatype, from[at], to)) return false;
                if (input.has_range && !is_inside(input, from[at])) return false;
            }
        }
    }
    return true;
}

}  // namespace portside
