// The functions that Python calls, in C's spelling. All of them are called with Python's lock held, the requests by one
// thread. Texts and numbers that come at load are copied; buffers belong to Python, which keeps them.
//
// Each returns a negative number for what it does not take, and `portside_ask` and `portside_tell` zero for "not mine".
#include <ctime>
#include <new>

#include "head.hpp"
#include "model.hpp"
#include "writing.hpp"

namespace portside {

namespace {

constexpr int32_t VERSION = 1;
constexpr size_t OUT_BYTES = 1 << 19, HEAD_BYTES = 256;
constexpr size_t MOST_MODELS = 64, MOST_INPUTS = 64, MOST_KEYS = 4096, MOST_PIECES = 4096, MOST_ROUTES = 512;
constexpr size_t LARGEST_REQUEST = 32 * 1024;  // what is larger does not belong onto the loop
constexpr size_t LARGEST_TABLE = 2048;  // of bytes; larger ones have a way of their own in Python (`json_table`)
constexpr size_t SMALLEST_CODED = 1400;  // of an answer that may be compressed

struct Route {
    std::string target;
    size_t model;
    Surface surface;
};

struct Server {
    std::string token;
    std::vector<Model> models;
    std::vector<Route> routes;
    Values values;
    std::string out;
    std::string date;
    std::time_t second = 0;
    Asked asked;
    Model* model = nullptr;  // that `asked` is of, until it is told
    int64_t begun = 0, parsed = 0, validated = 0;
};

int64_t now() {
    std::timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);  // Python's perf_counter
    return int64_t{time.tv_sec} * 1000000000 + time.tv_nsec;
}

// Of equal length in equal time, wherever they differ.
bool is_token(const std::string& token, const Text& given) {
    if (given.size != token.size()) return false;
    unsigned char differs = 0;
    for (size_t at = 0; at < given.size; ++at) differs |= static_cast<unsigned char>(given.at[at] ^ token[at]);
    return differs == 0;
}

void put_two(std::string& text, int number) {
    text += static_cast<char>('0' + number / 10 % 10);
    text += static_cast<char>('0' + number % 10);
}

// RFC 9110, 5.6.7; not by strftime, whose names are those of the locale.
void refresh_date(Server& server) {
    static const char* const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char* const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    std::timespec time{};
    clock_gettime(CLOCK_REALTIME, &time);
    if (time.tv_sec == server.second) return;
    std::tm utc{};
    if (!gmtime_r(&time.tv_sec, &utc)) return;
    server.second = time.tv_sec;
    std::string& date = server.date;
    date.assign("HTTP/1.1 200 OK\r\ndate: ").append(days[utc.tm_wday % 7]).append(", ");
    put_two(date, utc.tm_mday);
    date.append(" ").append(months[utc.tm_mon % 12]).append(" ");
    put_two(date, (utc.tm_year + 1900) / 100);
    put_two(date, (utc.tm_year + 1900) % 100);
    date += ' ';
    put_two(date, utc.tm_hour);
    date += ':';
    put_two(date, utc.tm_min);
    date += ':';
    put_two(date, utc.tm_sec);
    date.append(" GMT\r\ncontent-type: application/json\r\n");
}

const Route* route_of(const Server& server, const Text& target) {
    for (const Route& route : server.routes) {
        if (target.is(route.target.data(), route.target.size())) return &route;
    }
    return nullptr;
}

// What a head asks for, if that is something here: a plain request of which no byte too many has come.
const Route* parse_head(Server& server, Cursor& request, Head& head) {
    if (!parse_head(request, head) || request.left() > head.body_bytes) return nullptr;
    if (!server.token.empty() && !is_token(server.token, head.authorization)) return nullptr;
    return route_of(server, head.target);
}

bool parse_body(Server& server, Cursor& request, const Head& head, const Route* route) {
    Model& model = server.models[route->model];
    server.asked = Asked{};
    server.asked.says_keep_alive = head.says_keep_alive;
    server.asked.may_be_coded = head.may_be_coded;
    static constexpr decltype(&parse_tensors) parsers[SURFACES] = {parse_prediction, parse_tensors, parse_instances};
    if (!parsers[route->surface](request, model, server.values, server.asked)) return false;
    request.skip_space();
    if (!request.at_end() || (server.asked.form == TABLE && head.body_bytes >= LARGEST_TABLE)) return false;
    // What is compressed is Python's; as far as the last answer tells, before the engine is asked in vain.
    if (server.asked.may_be_coded && static_cast<size_t>(server.asked.records) * model.record_bytes >= SMALLEST_CODED)
        return false;
    server.model = &model;
    return true;
}

// Write the head so that it ends where the body begins; its size, or nothing where it is too long.
size_t put_head(Server& server, size_t body_bytes) {
    refresh_date(server);
    char text[HEAD_BYTES];
    Writer head(text, text + sizeof text);
    head.text(server.date);
    if (server.asked.says_keep_alive) head.text("connection: keep-alive\r\n");
    head.text("content-length: ");
    head.natural(body_bytes);
    head.text("\r\n\r\n");
    if (!head.is_whole()) return 0;
    std::memcpy(server.out.data() + HEAD_BYTES - head.size(), text, head.size());
    return head.size();
}

void stamp(Server& server, int64_t computed) {
    Model& model = *server.model;
    if (model.stamped == model.most_stamped) return;  // Python, told so, has not come: lose the figures, not the memory
    int64_t* row = &model.stamps[model.stamped++ * (STAMPS + 1)];
    const int64_t given[] = {server.asked.records, server.begun, server.parsed, server.validated, computed, now()};
    std::memcpy(row, given, sizeof given);
}

Model* model_of(Server* server, int32_t model) {
    if (!server || model < 0 || static_cast<size_t>(model) >= server->models.size()) return nullptr;
    return &server->models[static_cast<size_t>(model)];
}

}  // namespace

}  // namespace portside

using namespace portside;

#pragma GCC visibility push(default)
extern "C" {

int32_t portside_version() { return VERSION; }

Server* portside_open(const char* token, size_t size) {
    Server* server = new (std::nothrow) Server;
    if (!server) return nullptr;
    server->token.assign(token, size);
    server->out.resize(OUT_BYTES);
    server->values.of.resize(MOST_VALUES);
    server->models.reserve(MOST_MODELS);  // pointers to them stay
    return server;
}

void portside_close(Server* server) { delete server; }

char* portside_out(Server* server) { return server->out.data(); }

int32_t portside_model(Server* server, int64_t most_records, size_t most_stamped) {
    if (server->models.size() == MOST_MODELS || most_records < 1 || most_records > MOST_RECORDS) return -1;
    Model& model = server->models.emplace_back();
    model.most_records = most_records;
    model.most_stamped = most_stamped;
    model.stamps.resize(most_stamped * (STAMPS + 1));
    return static_cast<int32_t>(server->models.size() - 1);
}

int32_t portside_input(Server* server, int32_t model_at, const char* name, size_t size, const char* word,
                       size_t word_size, int32_t datatype, const int64_t* dimensions, size_t rank, char* buffer) {
    Model* model = model_of(server, model_at);
    if (!model || model->inputs.size() == MOST_INPUTS || rank > MOST_RANK || !buffer) return -1;
    if (datatype < 0 || datatype >= static_cast<int32_t>(Datatype::code)) return -1;
    size_t width = 1;
    for (size_t axis = 0; axis < rank; ++axis) {
        if (dimensions[axis] < 1 || dimensions[axis] > static_cast<int64_t>(MOST_VALUES)) return -1;
        width *= static_cast<size_t>(dimensions[axis]);
        if (width > MOST_VALUES) return -1;
    }
    if ((model->width + width) * static_cast<size_t>(model->most_records) > MOST_VALUES) return -1;
    model->inputs.push_back(Input{std::string(name, size), std::string(word, word_size),
                                  static_cast<Datatype>(datatype), std::vector<int64_t>(dimensions, dimensions + rank),
                                  width, model->width, buffer, false, 0, 0});
    model->width += width;
    if (server->values.seen.size() < model->width) server->values.seen.resize(model->width);
    return static_cast<int32_t>(model->inputs.size() - 1);
}

int32_t portside_range(Server* server, int32_t model_at, int32_t input, double least, double greatest) {
    Model* model = model_of(server, model_at);
    if (!model || input < 0 || static_cast<size_t>(input) >= model->inputs.size()) return -1;
    Input& of = model->inputs[static_cast<size_t>(input)];
    if (of.datatype != Datatype::fp32 && of.datatype != Datatype::fp64) return -1;
    of.has_range = true;
    of.least = least;
    of.greatest = greatest;
    return 0;
}

int32_t portside_key(Server* server, int32_t model_at, const char* name, size_t size, int32_t input, int32_t place) {
    Model* model = model_of(server, model_at);
    if (!model || input < 0 || static_cast<size_t>(input) >= model->inputs.size()) return -1;
    const Input& of = model->inputs[static_cast<size_t>(input)];
    if (model->keys.size() == MOST_KEYS || place < -1 || place >= static_cast<int32_t>(of.width)) return -1;
    model->keys.push_back(Key{std::string(name, size), static_cast<uint32_t>(input), place});
    model->takes_records = true;
    return 0;
}

int32_t portside_output(Server* server, int32_t model_at, int32_t datatype, size_t width, const char* buffer,
                        const char* before, size_t before_size, const char* between, size_t between_size) {
    Model* model = model_of(server, model_at);
    if (!model || datatype < 0 || datatype >= DATATYPES || width > MOST_VALUES || !buffer) return -1;
    model->outputs.push_back(Output{static_cast<Datatype>(datatype), width, buffer, std::string(before, before_size),
                                    std::string(between, between_size), {}});
    return static_cast<int32_t>(model->outputs.size() - 1);
}

int32_t portside_text(Server* server, int32_t model_at, int32_t output, const char* text, size_t size) {
    Model* model = model_of(server, model_at);
    if (!model || output < 0 || static_cast<size_t>(output) >= model->outputs.size()) return -1;
    model->outputs[static_cast<size_t>(output)].texts.emplace_back(text, size);
    return 0;
}

int32_t portside_piece(Server* server, int32_t model_at, int32_t as, const char* before, size_t size,
                       int32_t output, size_t offset, int32_t tell) {
    Model* model = model_of(server, model_at);
    if (!model || output < 0 || static_cast<size_t>(output) >= model->outputs.size()) return -1;
    const size_t width = model->outputs[static_cast<size_t>(output)].width;
    if (offset >= width || as < 0 || as >= WAYS || model->pieces[as].size() == MOST_PIECES) return -1;
    if (tell < 0 || tell > static_cast<int32_t>(Tell::outlier)) return -1;
    model->pieces[as].push_back(
        Piece{std::string(before, size), static_cast<uint32_t>(output), offset, static_cast<Tell>(tell), {}});
    return 0;
}

int32_t portside_choice(Server* server, int32_t model_at, int32_t as, const char* text, size_t size) {
    Model* model = model_of(server, model_at);
    if (!model || as < 0 || as >= WAYS || model->pieces[as].empty()) return -1;
    model->pieces[as].back().texts.emplace_back(text, size);
    return 0;
}

int32_t portside_frame(Server* server, int32_t model_at, int32_t frame, const char* text, size_t size) {
    Model* model = model_of(server, model_at);
    if (!model || frame < 0 || frame >= FRAMES) return -1;
    model->frames[frame].assign(text, size);
    if (frame == TAIL) model->tells_records = true;
    if (frame == AS_INSTANCE) model->tells_instances = true;
    if (frame == TENSORS_BEGIN) model->tells_tensors = true;
    return 0;
}

int32_t portside_route(Server* server, const char* target, size_t size, int32_t model_at, int32_t surface) {
    if (!model_of(server, model_at) || server->routes.size() == MOST_ROUTES) return -1;
    if (surface < 0 || surface >= SURFACES) return -1;
    server->routes.push_back(Route{std::string(target, size), static_cast<size_t>(model_at), static_cast<Surface>(surface)});
    return 0;
}

// Answer no more for this model.
int32_t portside_forget(Server* server, int32_t model_at) {
    if (!model_of(server, model_at)) return -1;
    std::vector<Route> kept;
    for (const Route& route : server->routes) {
        if (route.model != static_cast<size_t>(model_at)) kept.push_back(route);
    }
    server->routes.swap(kept);
    return 0;
}

// Parse and validate one whole request: the model's number plus one in the upper half and the records in the lower one,
// once the engine's buffers hold them. -1 for the begin of one, whose rest is still to come.
int64_t portside_ask(Server* server, const char* data, size_t size) {
    server->model = nullptr;
    if (size > LARGEST_REQUEST) return 0;
    server->begun = now();
    Cursor request(data, data + size);
    Head head;
    const Route* route = parse_head(*server, request, head);
    if (!route || head.body_bytes > LARGEST_REQUEST) return 0;
    if (request.left() < head.body_bytes) return -1;
    if (!parse_body(*server, request, head, route)) return 0;
    server->parsed = now();
    Model* model = server->model;
    if (!validate(*model, server->values, server->asked.records)) {
        server->model = nullptr;
        return 0;
    }
    server->validated = now();
    return static_cast<int64_t>(model - server->models.data() + 1) << 32 | server->asked.records;
}

// Encode the answer to what was asked last, from the engine's buffers: where in `portside_out` it begins (the upper half)
// and how long it is. Negative, the same, when Python should come for the figures.
int64_t portside_tell(Server* server) {
    Model* model = server->model;
    if (!model) return 0;
    const int64_t computed = now();
    Writer body(server->out.data() + HEAD_BYTES, server->out.data() + OUT_BYTES);
    encode(body, *model, server->asked);
    model->record_bytes = body.size() / static_cast<size_t>(server->asked.records);
    const bool is_long = server->asked.may_be_coded && body.size() >= SMALLEST_CODED;
    const size_t head_bytes = body.is_whole() && !is_long ? put_head(*server, body.size()) : 0;
    if (head_bytes) stamp(*server, computed);
    server->model = nullptr;
    if (!head_bytes) return 0;
    const size_t begin = HEAD_BYTES - head_bytes, size = head_bytes + body.size();
    const int64_t told = static_cast<int64_t>(begin) << 32 | static_cast<int64_t>(size);
    return model->stamped == model->most_stamped ? -told : told;
}

// Take the rows of figures: `records` and the stamps, oldest first; `rows` has room for as many as the model keeps.
int64_t portside_take(Server* server, int32_t model_at, int64_t* rows) {
    Model* model = model_of(server, model_at);
    if (!model) return -1;
    const size_t count = model->stamped;
    if (count) std::memcpy(rows, model->stamps.data(), count * (STAMPS + 1) * sizeof(int64_t));
    model->stamped = 0;
    return static_cast<int64_t>(count);
}

}  // extern "C"
#pragma GCC visibility pop
