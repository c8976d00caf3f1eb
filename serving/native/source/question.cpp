// The parse step: a body in JSON to values in the places of their inputs. Nothing is checked here but where things are;
// every name must be known and every value there, once.
#include "model.hpp"

namespace portside {

namespace {

class Reader {
  public:
    Reader(Cursor& body, const Model& model, Values& values, Asked& asked)
        : body_(body), model_(model), values_(values), asked_(asked) {}

    bool prediction();
    bool instances();
    bool tensors();

  private:
    bool record();
    bool records();
    bool table();
    bool row(const std::vector<const Key*>& keys);
    bool tensor(uint64_t& given);
    bool tensor_data(const Input& input);
    bool shape(const Input& input);
    bool nothing();
    bool id();
    bool nested(const Input& input, const Key* key, size_t axis, Value*& to);
    bool value_of(const Key& key);
    bool instance();
    const Key* key_of(const Text& name, size_t likely);
    bool begin_record();
    Value* place(size_t offset) { return &values_.of[static_cast<size_t>(asked_.records - 1) * model_.width + offset]; }
    bool mark(size_t offset, size_t count);

    Cursor& body_;
    const Model& model_;
    Values& values_;
    Asked& asked_;
    size_t filled_ = 0;
};

bool Reader::begin_record() {
    if (asked_.records >= model_.most_records) return false;
    ++asked_.records;
    ++values_.serial;
    filled_ = 0;
    return true;
}

// Note that these places of the record have values now; false where one had.
bool Reader::mark(size_t offset, size_t count) {
    for (size_t at = offset; at < offset + count; ++at) {
        if (values_.seen[at] == values_.serial) return false;
        values_.seen[at] = values_.serial;
    }
    filled_ += count;
    return true;
}

// Records spell their names in one order, mostly that of the signature.
const Key* Reader::key_of(const Text& name, size_t likely) {
    const std::vector<Key>& keys = model_.keys;
    for (size_t step = 0; step < keys.size(); ++step) {
        const Key& key = keys[(likely + step) % keys.size()];
        if (name.is(key.name.data(), key.name.size())) return &key;
        if (++asked_.compared > MOST_COMPARED) return nullptr;
    }
    return nullptr;
}

// The lists of a value from this axis on; a plain number may stand without its list of one.
bool Reader::nested(const Input& input, const Key* key, size_t axis, Value*& to) {
    if (axis == input.dimensions.size() || (key && key->place >= 0)) return body_.take_value(*to++);
    for (int64_t at = 0; at < input.dimensions[axis]; ++at) {
        if (!body_.take(at ? ',' : '[') || !nested(input, key, axis + 1, to)) return false;
    }
    return body_.take(']');
}

bool Reader::value_of(const Key& key) {
    const Input& input = model_.inputs[key.input];
    const bool is_place = key.place >= 0;
    const size_t offset = input.offset + (is_place ? static_cast<size_t>(key.place) : 0);
    if (!mark(offset, is_place ? 1 : input.width)) return false;
    Value* to = place(offset);
    body_.skip_space();
    const bool is_plain = input.dimensions.size() == 1 && input.width == 1 && body_.peek() != '[';
    return is_plain ? body_.take_value(*to) : nested(input, &key, 0, to);
}

bool Reader::record() {
    if (!begin_record() || !body_.take('{')) return false;
    size_t likely = 0;
    do {
        Text name;
        if (!body_.take_string(name) || !body_.take(':')) return false;
        const Key* key = key_of(name, likely);
        if (!key || !value_of(*key)) return false;
        likely = static_cast<size_t>(key - model_.keys.data()) + 1;
    } while (body_.take(','));
    return body_.take('}') && filled_ == model_.width;
}

bool Reader::records() {
    do {
        if (!record()) return false;
    } while (body_.take(','));
    return body_.take(']');
}

bool Reader::row(const std::vector<const Key*>& keys) {
    if (!begin_record()) return false;
    for (size_t at = 0; at < keys.size(); ++at) {
        if (!body_.take(at ? ',' : '[') || !value_of(*keys[at])) return false;
    }
    return body_.take(']') && filled_ == model_.width;
}

bool Reader::table() {
    std::vector<const Key*>& keys = values_.columns;
    keys.clear();
    if (!body_.take(':') || !body_.take('[')) return false;
    do {
        Text name;
        if (keys.size() == model_.keys.size() || !body_.take_string(name)) return false;
        const Key* key = key_of(name, keys.size());
        if (!key) return false;
        keys.push_back(key);
    } while (body_.take(','));
    Text data;
    if (!body_.take(']') || !body_.take(',') || !body_.take_string(data) || !data.is("data")) return false;
    if (!body_.take(':') || !body_.take('[')) return false;
    do {
        if (!row(keys)) return false;
    } while (body_.take(','));
    return body_.take(']');
}

bool Reader::prediction() {
    Text member;
    if (!body_.take('{') || !body_.take_string(member)) return false;
    if (member.is("columns")) {
        asked_.form = TABLE;
        if (!table()) return false;
    } else if (member.is("inputs") && body_.take(':')) {
        asked_.form = body_.take('[') ? RECORDS : RECORD;
        if (!(asked_.form == RECORDS ? records() : record())) return false;
    } else {
        return false;
    }
    return body_.take('}');
}

// A record, or where there is but one input its value.
bool Reader::instance() {
    body_.skip_space();
    if (body_.peek() == '{') return record();
    return model_.inputs.size() == 1 && begin_record() && value_of(model_.keys.back());
}

// KServe's spelling of records.
bool Reader::instances() {
    asked_.form = INSTANCES;
    Text member;
    if (!body_.take('{') || !body_.take_string(member) || !member.is("instances")) return false;
    if (!body_.take(':') || !body_.take('[')) return false;
    do {
        if (!instance()) return false;
    } while (body_.take(','));
    return body_.take(']') && body_.take('}');
}

// The declared shape, whose first dimension is the number of records: that of all inputs.
bool Reader::shape(const Input& input) {
    int64_t size = 0;
    if (!body_.take('[') || !body_.take_size(size) || size < 1 || size > model_.most_records) return false;
    if (asked_.records && asked_.records != size) return false;
    asked_.records = size;
    for (const int64_t expected : input.dimensions) {
        if (!body_.take(',') || !body_.take_size(size) || size != expected) return false;
    }
    return body_.take(']');
}

// Values row by row, in one list or in as many as the shape has.
bool Reader::tensor_data(const Input& input) {
    if (!body_.take('[')) return false;
    body_.skip_space();
    const bool is_nested = body_.peek() == '[';
    if (is_nested && input.dimensions.empty()) return false;
    for (int64_t record = 0; record < asked_.records; ++record) {
        Value* to = &values_.of[static_cast<size_t>(record) * model_.width + input.offset];
        if (is_nested) {
            if ((record && !body_.take(',')) || !nested(input, nullptr, 0, to)) return false;
            continue;
        }
        for (size_t at = 0; at < input.width; ++at) {
            if (((record || at) && !body_.take(',')) || !body_.take_value(*to++)) return false;
        }
    }
    return body_.take(']');
}

// Parameters that ask for nothing, as several clients send them.
bool Reader::nothing() {
    body_.skip_space();
    return body_.take_word("null") || (body_.take('{') && body_.take('}'));
}

// A text that is told again, and so must be ASCII: else it would have to be UTF-8.
bool Reader::id() {
    body_.skip_space();
    if (body_.take_word("null")) return true;
    if (!body_.take_string(asked_.id)) return false;
    asked_.has_id = true;
    for (size_t at = 0; at < asked_.id.size; ++at) {
        if (static_cast<unsigned char>(asked_.id.at[at]) >= 0x7f) return false;
    }
    return true;
}

// The members in the order in which every client writes them: what its data means must be known before them.
bool Reader::tensor(uint64_t& given) {
    Text name, text;
    if (!body_.take('{') || !body_.take_string(text) || !text.is("name")) return false;
    if (!body_.take(':') || !body_.take_string(name)) return false;
    size_t at = 0;
    while (at < model_.inputs.size() && !name.is(model_.inputs[at].name.data(), model_.inputs[at].name.size())) ++at;
    if (at == model_.inputs.size() || (given >> at & 1)) return false;
    given |= uint64_t{1} << at;
    const Input& input = model_.inputs[at];
    bool has_shape = false, has_datatype = false;
    while (body_.take(',')) {
        if (!body_.take_string(text) || !body_.take(':')) return false;
        if (text.is("shape") && !has_shape) {
            if (!shape(input)) return false;
            has_shape = true;
        } else if (text.is("datatype") && !has_datatype) {
            Text datatype;
            if (!body_.take_string(datatype)) return false;
            if (!datatype.is(input.datatype_name.data(), input.datatype_name.size())) return false;
            has_datatype = true;
        } else if (text.is("parameters")) {
            if (!nothing()) return false;
        } else {
            return text.is("data") && has_shape && has_datatype && tensor_data(input) && body_.take('}');
        }
    }
    return false;
}

bool Reader::tensors() {
    asked_.form = TENSORS;
    uint64_t given = 0;  // a bit for each input, of which there are 64 at most
    bool has_inputs = false, has_id = false;
    if (!body_.take('{')) return false;
    do {
        Text member;
        if (!body_.take_string(member) || !body_.take(':')) return false;
        if (member.is("id") && !has_id) {
            has_id = true;
            if (!id()) return false;
        } else if (member.is("parameters")) {
            if (!nothing()) return false;
        } else if (member.is("inputs") && !has_inputs) {
            has_inputs = true;
            if (!body_.take('[')) return false;
            do {
                if (!tensor(given)) return false;
            } while (body_.take(','));
            if (!body_.take(']')) return false;
        } else {
            return false;
        }
    } while (body_.take(','));
    if (!body_.take('}')) return false;
    return given + 1 == (model_.inputs.size() == 64 ? 0 : uint64_t{1} << model_.inputs.size());
}

}  // namespace

bool parse_prediction(Cursor& body, const Model& model, Values& values, Asked& asked) {
    return model.takes_records && model.tells_records && Reader(body, model, values, asked).prediction();
}

bool parse_instances(Cursor& body, const Model& model, Values& values, Asked& asked) {
    return model.takes_records && model.tells_instances && Reader(body, model, values, asked).instances();
}

bool parse_tensors(Cursor& body, const Model& model, Values& values, Asked& asked) {
    return model.tells_tensors && Reader(body, model, values, asked).tensors();
}

}  // namespace portside
