// What a kept result is found by: the key of a call, as a SHA-256. Pure: knows neither nginx nor Python.

#pragma once

#include <string_view>

#include "call/params.hpp"
#include "call/sha256.hpp"

namespace owt {

// Results of different scopes are never the same, whatever the call says.
struct Scope {
    std::string_view zone;
    std::string_view server;
    std::string_view location;
    std::string_view instance;
};

// What a call is apart from its parameters.
struct Target {
    std::string_view method;
    std::string_view path;   // as it came,
    std::string_view uri;    // and decoded, or as nginx has rewritten it
    std::string_view query;  // the whole one
    std::string_view body_type = {};
    std::string_view version = {};  // of a published function's file
};

// further stands for arguments that are no parameters: a digest of a form's files, or of a body that is all the
// adaptor's. With cache_kwargs it counts.
Digest key_of(const Scope& scope, const Target& target, Place place, const Params& params, std::string_view further);

// The key of one of several answers that Accept chooses between.
Digest key_of(const Digest& key, std::string_view accept);

}  // namespace owt
