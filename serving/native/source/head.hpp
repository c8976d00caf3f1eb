// The head of one plain request: a POST of JSON over HTTP/1.1 that wants JSON, with headers that change nothing.
#pragma once

#include <cstddef>

#include "reading.hpp"

namespace portside {

struct Head {
    Text target;
    Text authorization;
    size_t body_bytes = 0;
    bool says_keep_alive = false, may_be_coded = false;
};

// Read a head up to its empty line; false for any other request.
bool parse_head(Cursor& request, Head& head);

}  // namespace portside
