// application/x-www-form-urlencoded, of a query or a body, cut into its pairs (WHATWG URL, 5.1). Pure: knows neither
// nginx nor Python.

#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "call/params.hpp"

namespace owt {

// A '%' that no two hex digits follow stands for itself.
std::string decode_percent(std::string_view text);

// Parameters of a query string or a body. On a complaint the contents of params are unspecified.
Complaint read_urlencoded(std::string_view text, Params& params);

// Calls each(name, value), undecoded, until it returns false.
template <typename Each>
void for_each_pair(std::string_view text, Each each) {
    while (!text.empty()) {
        std::string_view pair = text.substr(0, text.find('&'));
        text.remove_prefix(std::min(pair.size() + 1, text.size()));
        if (pair.empty()) {
            continue;
        }
        size_t equals = std::min(pair.find('='), pair.size());
        if (!each(pair.substr(0, equals), pair.substr(std::min(equals + 1, pair.size())))) {
            return;
        }
    }
}

}  // namespace owt
