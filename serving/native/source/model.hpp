// What is known of one served model: its inputs and where their values go, its outputs and how an answer tells them.
// Made at load from what Python says, and never changed by a request but for its buffers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "reading.hpp"

namespace portside {

constexpr int64_t MOST_RECORDS = 1024;
constexpr size_t MOST_VALUES = 16384;  // of one request
constexpr size_t MOST_RANK = 6;
constexpr size_t MOST_COMPARED = 8192;  // names of one request: records that spell theirs in another order cost more
constexpr size_t STAMPS = 5;            // begun, parsed, validated, computed, ended; before them the records

enum class Datatype : int32_t {
    truth, uint8, uint16, uint32, uint64, int8, int16, int32, int64, fp32, fp64,
    code,  // a text as its place in the output's table; -1 for one that is not in it
};
constexpr int32_t DATATYPES = 12;
constexpr size_t ITEM_BYTES[DATATYPES] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 4, 8, 4};

struct Input {
    std::string name, datatype_name;
    Datatype datatype;
    std::vector<int64_t> dimensions;  // of one record's value
    size_t width;                     // its values
    size_t offset;                    // where they begin in a record
    char* buffer;                     // of the engine: records behind each other
    bool has_range = false;           // real numbers only
    double least = 0, greatest = 0;   // both allowed
};

// What a record or a table may call a value: an input, or one place of one.
struct Key {
    std::string name;
    uint32_t input;
    int32_t place;  // -1: all of it
};

struct Output {
    Datatype datatype;
    size_t width;
    const char* buffer;
    std::string before, between;  // of the tensor protocol, around the number of records
    std::vector<std::string> texts;
};

enum class Tell : int32_t { value, greatest, least, truth, outlier };

// One value of an answer and the text before it.
struct Piece {
    std::string before;
    uint32_t output;
    size_t offset;
    Tell tell;
    std::vector<std::string> texts;  // of greatest and least
};

enum Form : int32_t { RECORD, RECORDS, TABLE, TENSORS, INSTANCES };
enum Surface : int32_t { PREDICT, INFER, KSERVE, SURFACES };  // what a request target is of
enum As : int32_t { AS_RECORD, AS_ROW, AS_INSTANCE, WAYS };   // how the answer to one record is told
// The first are the ends of these.
enum Frame : int32_t { COLUMNS = WAYS, TAIL, TENSORS_BEGIN, FRAMES };

struct Model {
    int64_t most_records = 0;
    size_t width = 0;  // values of one record
    bool takes_records = false, tells_records = false, tells_tensors = false, tells_instances = false;
    std::vector<Input> inputs;
    std::vector<Key> keys;
    std::vector<Output> outputs;
    std::vector<Piece> pieces[WAYS];
    std::string frames[FRAMES];
    size_t record_bytes = 0;       // of the last answer, for each record of it
    std::vector<int64_t> stamps;  // rows of what happened, until somebody takes them
    size_t stamped = 0, most_stamped = 0;
};

// A request that is being answered. Its texts point into what was read, which lives until it is answered.
struct Asked {
    Form form = RECORD;
    int64_t records = 0;
    Text id;
    bool has_id = false, says_keep_alive = false, may_be_coded = false;
    size_t compared = 0;
};

// The values of a request, record by record, and which of the first record's are there already.
struct Values {
    std::vector<Value> of;
    std::vector<uint64_t> seen;  // the last record (of all that ever were) that had this value
    uint64_t serial = 0;
    std::vector<const Key*> columns;  // of a table
};

bool parse_prediction(Cursor& body, const Model& model, Values& values, Asked& asked);  // question.cpp
bool parse_instances(Cursor& body, const Model& model, Values& values, Asked& asked);
bool parse_tensors(Cursor& body, const Model& model, Values& values, Asked& asked);
bool put(Datatype datatype, const Value& value, char* to);  // columns.cpp
bool validate(const Model& model, const Values& values, int64_t records);  // columns.cpp

class Writer;
void encode(Writer& out, const Model& model, const Asked& asked);  // answer.cpp

}  // namespace portside
