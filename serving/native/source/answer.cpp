// The encode step: the engine's buffers to the body of an answer, the constant texts of which Python has made at load.
#include <cmath>

#include "model.hpp"
#include "writing.hpp"

namespace portside {

namespace {

template <typename T>
T item(const char* buffer, size_t at) {
    T number;
    std::memcpy(&number, buffer + at * sizeof number, sizeof number);
    return number;
}

double real_at(const Output& output, size_t at) {
    return output.datatype == Datatype::fp32 ? static_cast<double>(item<float>(output.buffer, at))
                                             : item<double>(output.buffer, at);
}

bool is_real(const Output& output) { return output.datatype == Datatype::fp32 || output.datatype == Datatype::fp64; }

int64_t whole_at(const Output& output, size_t at) {
    switch (output.datatype) {
        case Datatype::uint8: return item<uint8_t>(output.buffer, at);
        case Datatype::uint16: return item<uint16_t>(output.buffer, at);
        case Datatype::uint32: return item<uint32_t>(output.buffer, at);
        case Datatype::int8: return item<int8_t>(output.buffer, at);
        case Datatype::int16: return item<int16_t>(output.buffer, at);
        case Datatype::int32: return item<int32_t>(output.buffer, at);
        case Datatype::int64: return item<int64_t>(output.buffer, at);
        case Datatype::truth: return item<uint8_t>(output.buffer, at) != 0;
        default: return 0;  // uint64 and code have ways of their own
    }
}

// `nothing`: what is told of NaN and infinity; empty where these are no answer.
void put_value(Writer& out, const Output& output, size_t at, const std::string& nothing) {
    if (is_real(output)) {
        const double number = real_at(output, at);
        if (std::isfinite(number)) {
            out.real(number);
        } else if (nothing.empty()) {
            out.fail();
        } else {
            out.text(nothing);
        }
    } else if (output.datatype == Datatype::code) {
        const int32_t code = item<int32_t>(output.buffer, at);
        if (code < 0 || static_cast<size_t>(code) >= output.texts.size()) {
            out.fail();
        } else {
            out.text(output.texts[static_cast<size_t>(code)]);
        }
    } else if (output.datatype == Datatype::truth) {
        whole_at(output, at) ? out.text("true") : out.text("false");
    } else if (output.datatype == Datatype::uint64) {
        out.natural(item<uint64_t>(output.buffer, at));
    } else {
        out.whole(whole_at(output, at));
    }
}

// The place of the best value of a row of reals as numpy finds it: the first of several, and NaN is better than any.
size_t best_of(const Output& output, size_t begin, bool is_greatest) {
    size_t best = 0;
    for (size_t at = 0; at < output.width; ++at) {
        const double number = real_at(output, begin + at), other = real_at(output, begin + best);
        if (std::isnan(number)) return at;
        if (is_greatest ? number > other : number < other) best = at;
    }
    return best;
}

void put_truth(Writer& out, const Output& output, size_t at, bool is_outlier) {
    if (is_real(output)) {
        const double number = real_at(output, at);
        if (std::isnan(number)) {
            out.text("null");
            return;
        }
        (is_outlier ? number == -1 : number != 0) ? out.text("true") : out.text("false");
        return;
    }
    const int64_t number = whole_at(output, at);
    (is_outlier ? number == -1 : number != 0) ? out.text("true") : out.text("false");
}

void put_piece(Writer& out, const Model& model, const Piece& piece, size_t record) {
    static const std::string null = "null";
    const Output& output = model.outputs[piece.output];
    const size_t begin = record * output.width;
    out.text(piece.before);
    switch (piece.tell) {
        case Tell::value: put_value(out, output, begin + piece.offset, null); break;
        case Tell::truth: put_truth(out, output, begin + piece.offset, false); break;
        case Tell::outlier: put_truth(out, output, begin + piece.offset, true); break;
        case Tell::greatest:
        case Tell::least: {
            const bool is_greatest = piece.tell == Tell::greatest;
            const size_t best = is_real(output) ? best_of(output, begin, is_greatest) : piece.texts.size();
            if (best < piece.texts.size()) {
                out.text(piece.texts[best]);
            } else {
                out.fail();
            }
        }
    }
}

void put_records(Writer& out, const Model& model, As as, size_t records) {
    for (size_t record = 0; record < records; ++record) {
        if (record) out.put(',');
        for (const Piece& piece : model.pieces[as]) put_piece(out, model, piece, record);
        out.text(model.frames[as]);
    }
}

void put_tensors(Writer& out, const Model& model, const Asked& asked) {
    static const std::string none;
    out.text(model.frames[TENSORS_BEGIN]);
    if (asked.has_id) {
        out.text(",\"id\":\"");
        out.text(asked.id.at, asked.id.size);
        out.put('"');
    }
    out.text(",\"outputs\":[");
    for (const Output& output : model.outputs) {
        if (&output != &model.outputs.front()) out.put(',');
        out.text(output.before);
        out.whole(asked.records);
        out.text(output.between);
        const size_t count = static_cast<size_t>(asked.records) * output.width;
        for (size_t at = 0; at < count; ++at) {
            if (at) out.put(',');
            put_value(out, output, at, none);
        }
        out.text("]}");
    }
    out.text("]}");
}

}  // namespace

void encode(Writer& out, const Model& model, const Asked& asked) {
    const size_t records = static_cast<size_t>(asked.records);
    if (asked.form == TENSORS) {
        put_tensors(out, model, asked);
        return;
    }
    if (asked.form == INSTANCES) {
        out.text("{\"predictions\":[");
        put_records(out, model, AS_INSTANCE, records);
        out.text("]}");
        return;
    }
    out.text("{\"outputs\":");
    if (asked.form == TABLE) {
        out.text(model.frames[COLUMNS]);
        put_records(out, model, AS_ROW, records);
        out.text("]}");
    } else {
        if (asked.form == RECORDS) out.put('[');
        put_records(out, model, AS_RECORD, records);
        if (asked.form == RECORDS) out.put(']');
    }
    out.text(model.frames[TAIL]);
}

}  // namespace portside
