// One record of numbers in JSON, straight into the memory of its columns: for models that are not answered at once, whose
// requests wait for the engine side by side, and for records that are large. Keeps nothing between two calls.
#include "model.hpp"

namespace portside {

namespace {

// As Python lays it out.
struct Column {
    const char* name;
    size_t name_size;
    const int64_t* dimensions;  // of the record's value; each is 1 or more
    size_t rank;
    int64_t datatype;
};

bool nested(Cursor& body, const Column& column, size_t axis, char*& to) {
    const Datatype datatype = static_cast<Datatype>(column.datatype);
    if (axis == column.rank) {
        Value value;
        if (!body.take_value(value) || !put(datatype, value, to)) return false;
        to += ITEM_BYTES[column.datatype];
        return true;
    }
    for (int64_t at = 0; at < column.dimensions[axis]; ++at) {
        if (!body.take(at ? ',' : '[') || !nested(body, column, axis + 1, to)) return false;
    }
    return body.take(']');
}

}  // namespace

}  // namespace portside

using namespace portside;

#pragma GCC visibility push(default)
extern "C" {

// Read `{"inputs": {…}}` with these columns in this order and nothing else: 1, or 0 where it is anything else, and then
// their memory holds anything. Each of `to` has room for all values of its column.
int32_t portside_record(const char* data, size_t size, const Column* columns, size_t count, char* const* to) {
    Cursor body(data, data + size);
    Text name;
    if (!body.take('{') || !body.take_string(name) || !name.is("inputs") || !body.take(':')) return 0;
    for (size_t at = 0; at < count; ++at) {
        const Column& column = columns[at];
        if (!body.take(at ? ',' : '{') || !body.take_string(name) || !name.is(column.name, column.name_size)) return 0;
        char* place = to[at];
        if (!body.take(':') || !nested(body, column, 0, place)) return 0;
    }
    if (!body.take('}') || !body.take('}')) return 0;
    body.skip_space();
    return body.at_end();
}

}  // extern "C"
#pragma GCC visibility pop
