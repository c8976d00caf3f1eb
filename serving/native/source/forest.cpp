// Forests of decision trees over rows of numbers, as ONNX's TreeEnsemble operators define them. Python lays the nodes
// out and keeps them; nothing is kept here, and nothing is written but the answer, so any thread may ask. Rows are
// answered one by one, so several threads share them, and the answer is the same for any number of these.
//
// The trees of a forest are asked one after the other, and their weights are added in that order in FP32, as ONNX
// Runtime does on one thread: the sums are the same to the bit. What makes it quick is that several walks go side by
// side, so that the processor has others to go on with while one waits for the node that it needs next.
#include <pthread.h>

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace portside {

namespace {

// A split sends on to `below`, or to the node behind it; a leaf stays where it is.
struct Node {
    float value;  // the threshold, or what a leaf of a forest with one target weighs
    int32_t feature, below, kind;
};

struct Weight {
    int32_t target;
    float value;
};

constexpr int32_t SPLIT = 1, TAKES_MISSING = 2;  // of `kind`: the second where a missing value goes to `below`
constexpr int64_t SIDE_BY_SIDE = 16, SMALLEST_BLOCK = 64, LARGEST_BLOCK = 1024;
constexpr int64_t MOST_THREADS = 64, WALKS_OF_A_THREAD = 20000;  // to begin one takes as long as a tenth of these
constexpr int64_t BLOCK_NUMBERS = 64 * 1024;  // of rows that stay in a cache while one tree after the other reads them

enum Finish : int64_t { sums, averages, classes, two_classes, two_margins };
enum Link : int64_t { none, logistic, softmax };

}  // namespace

// As `forest.py` lays it out.
struct Forest {
    const Node* nodes;
    const int32_t* roots;
    const int32_t* first;  // of each node's weights, and one more; none where there is one target
    const Weight* weights;
    const float* base;  // of each target; may be none
    const int64_t* labels;
    int64_t trees, width, targets, outputs, finish, link, has_missing, has_all, threads;
};

namespace {

float to_probability(float margin) {
    const float above = 1.0F / (1.0F + std::exp(-std::abs(margin)));
    return margin < 0 ? 1.0F - above : above;
}

void soften(float* scores, int64_t count) {
    float most = scores[0], sum = 0;
    for (int64_t each = 1; each < count; ++each) most = scores[each] > most ? scores[each] : most;
    for (int64_t each = 0; each < count; ++each) sum += scores[each] = std::exp(scores[each] - most);
    for (int64_t each = 0; each < count; ++each) scores[each] /= sum;
}

template <bool HAS_MISSING>
inline int32_t step(const Node& node, float value) {
    bool is_below = value <= node.value;
    if (HAS_MISSING) is_below |= (value != value) & ((node.kind & TAKES_MISSING) != 0);
    return node.below + (static_cast<int32_t>(!is_below) & node.kind & SPLIT);
}

// Each of several walks through to its leaf: from its own root with its own row.
template <bool HAS_MISSING>
inline void walk(const Node* nodes, const float* const* rows, int32_t* at) {
    int32_t going;
    do {
        going = 0;
        for (int64_t each = 0; each < SIDE_BY_SIDE; ++each) {
            const Node& node = nodes[at[each]];
            going |= node.kind;
            at[each] = step<HAS_MISSING>(node, rows[each][node.feature]);
        }
    } while (going & SPLIT);
}

template <bool HAS_MISSING>
int32_t walk_one(const Node* nodes, const float* row, int32_t at) {
    while (nodes[at].kind & SPLIT) at = step<HAS_MISSING>(nodes[at], row[nodes[at].feature]);
    return at;
}

void add(const Forest& forest, int32_t leaf, float* sums) {
    if (forest.targets == 1) {
        *sums += forest.nodes[leaf].value;
        return;
    }
    for (int32_t each = forest.first[leaf]; each < forest.first[leaf + 1]; ++each)
        sums[forest.weights[each].target] += forest.weights[each].value;
}

// One row, some trees side by side.
template <bool HAS_MISSING>
void answer_row(const Forest& forest, const float* row, float* sums) {
    const float* rows[SIDE_BY_SIDE];
    for (const float*& each : rows) each = row;
    int64_t tree = 0;
    for (; tree + SIDE_BY_SIDE <= forest.trees; tree += SIDE_BY_SIDE) {
        int32_t at[SIDE_BY_SIDE];
        for (int64_t each = 0; each < SIDE_BY_SIDE; ++each) at[each] = forest.roots[tree + each];
        walk<HAS_MISSING>(forest.nodes, rows, at);
        for (const int32_t leaf : at) add(forest, leaf, sums);
    }
    for (; tree < forest.trees; ++tree) add(forest, walk_one<HAS_MISSING>(forest.nodes, row, forest.roots[tree]), sums);
}

// As many rows as a cache holds, one tree after the other, some rows side by side.
template <bool HAS_MISSING>
void answer_block(const Forest& forest, const float* row, int64_t count, float* sums) {
    const int64_t whole = count - count % SIDE_BY_SIDE;
    for (int64_t tree = 0; tree < forest.trees; ++tree) {
        for (int64_t begin = 0; begin < whole; begin += SIDE_BY_SIDE) {
            const float* rows[SIDE_BY_SIDE];
            int32_t at[SIDE_BY_SIDE];
            for (int64_t each = 0; each < SIDE_BY_SIDE; ++each) {
                rows[each] = row + (begin + each) * forest.width;
                at[each] = forest.roots[tree];
            }
            walk<HAS_MISSING>(forest.nodes, rows, at);
            for (int64_t each = 0; each < SIDE_BY_SIDE; ++each)
                add(forest, at[each], sums + (begin + each) * forest.targets);
        }
    }
    for (int64_t each = whole; each < count; ++each)
        answer_row<HAS_MISSING>(forest, row + each * forest.width, sums + each * forest.targets);
}

// What is told of one row with one target: y, or the scores of two classes.
void finish_one(const Forest& forest, float sum, float* out, int64_t* label) {
    if (forest.finish == averages) sum /= static_cast<float>(forest.trees);
    if (forest.base) sum += forest.base[0];
    if (forest.finish == sums || forest.finish == averages) {
        *out = sum;
        return;
    }
    const bool is_positive = sum > (forest.finish == two_classes ? 0.5F : 0.0F);
    *label = forest.labels[is_positive];
    if (forest.finish == two_classes) {
        out[0] = 1.0F - sum;
        out[1] = sum;
    } else if (forest.link == logistic) {
        out[0] = to_probability(-sum);
        out[1] = to_probability(sum);
    } else {
        out[0] = -sum;
        out[1] = sum;
    }
}

// Whether what is told of one row with several targets can be told.
bool finish_several(const Forest& forest, float* out, int64_t* label) {
    for (int64_t each = 0; each < forest.targets; ++each) {
        if (forest.finish == averages) out[each] /= static_cast<float>(forest.trees);
        if (forest.base) out[each] += forest.base[each];
    }
    if (forest.finish != classes) return true;
    int64_t best = 0;
    for (int64_t each = 1; each < forest.targets; ++each)
        if (out[each] > out[best]) best = each;
    // A class without any weight in this row is none of those that are compared; of the others there is one above zero.
    if (!(forest.has_all || out[best] > 0)) return false;
    *label = forest.labels[best];
    if (forest.link == softmax) soften(out, forest.targets);
    return true;
}

int64_t block_size(int64_t width) {
    const int64_t size = BLOCK_NUMBERS / width / SIDE_BY_SIDE * SIDE_BY_SIDE;
    return size < SMALLEST_BLOCK ? SMALLEST_BLOCK : size > LARGEST_BLOCK ? LARGEST_BLOCK : size;
}

template <bool HAS_MISSING>
bool answer(const Forest& forest, const float* rows, int64_t count, float* out, int64_t* labels) {
    float block[LARGEST_BLOCK];
    int64_t unlabelled = 0;
    const int64_t most = block_size(forest.width);
    for (int64_t begin = 0; begin < count; begin += most) {
        const int64_t size = count - begin < most ? count - begin : most;
        float* sums = forest.targets == 1 ? block : out + begin * forest.targets;
        for (int64_t each = 0; each < size * forest.targets; ++each) sums[each] = 0;
        answer_block<HAS_MISSING>(forest, rows + begin * forest.width, size, sums);
        for (int64_t each = 0; each < size; ++each) {
            float* told = out + (begin + each) * forest.outputs;
            int64_t* label = labels ? labels + begin + each : &unlabelled;
            if (forest.targets == 1)
                finish_one(forest, block[each], told, label);
            else if (!finish_several(forest, told, label))
                return false;
        }
    }
    return true;
}

// The rows of one thread.
struct Part {
    const Forest* forest;
    const float* rows;
    int64_t count;
    float* out;
    int64_t* labels;
    bool is_told;
};

void* answer_part(void* given) {
    Part& part = *static_cast<Part*>(given);
    const auto way = part.forest->has_missing ? answer<true> : answer<false>;
    part.is_told = way(*part.forest, part.rows, part.count, part.out, part.labels);
    return nullptr;
}

bool answer_shared(const Forest& forest, const float* rows, int64_t count, float* out, int64_t* labels) {
    int64_t threads = 1 + count * forest.trees / WALKS_OF_A_THREAD;
    threads = threads > forest.threads ? forest.threads : threads;
    threads = threads > MOST_THREADS ? MOST_THREADS : threads;
    const int64_t each = (count + threads - 1) / threads;
    Part parts[MOST_THREADS];
    pthread_t begun[MOST_THREADS];
    bool is_begun[MOST_THREADS] = {};
    bool is_told = true;
    for (int64_t number = threads - 1; number >= 0; --number) {
        const int64_t begin = number * each < count ? number * each : count;
        const int64_t size = count - begin < each ? count - begin : each;
        parts[number] = {&forest, rows + begin * forest.width, size, out + begin * forest.outputs,
                         labels ? labels + begin : nullptr, false};
        is_begun[number] = number > 0 && pthread_create(&begun[number], nullptr, answer_part, &parts[number]) == 0;
        if (!is_begun[number]) answer_part(&parts[number]);  // the first is ours, and any for which there is no thread
    }
    for (int64_t number = 0; number < threads; ++number) {
        if (is_begun[number]) pthread_join(begun[number], nullptr);
        is_told = is_told && parts[number].is_told;
    }
    return is_told;
}

}  // namespace

}  // namespace portside

// The scores and labels of `count` rows; 0 where they cannot be told and nothing of what was written counts.
extern "C" __attribute__((visibility("default"))) int32_t portside_forest(const portside::Forest* forest,
                                                                          const float* rows, int64_t count, float* out,
                                                                          int64_t* labels) {
    return portside::answer_shared(*forest, rows, count, out, labels);
}
