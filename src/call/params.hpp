// The parameters of owt's own that a request carries, wherever they came from.
// Pure: knows neither nginx nor Python.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace owt {

// A field that the parameter table does not name: a keyword argument.
struct Field {
    std::string name;
    std::string value;
    bool json = false;  // value is JSON text as it came; else it is the string itself
};

struct Params {
    // The configuration has chosen the function, whose file is code_id: every field is an argument.
    bool published = false;
    std::string code;     // the adaptor's source; empty where only its id was sent
    std::string code_id;  // SHA-256 of the source, 64 lowercase hex digits
    std::string fn_name = "run";
    std::optional<std::string> kwargs;  // text of kwargs or decoded kwargs_b64
    bool use_cache = false;
    bool cache_kwargs = false;
    std::optional<std::string> cache_key_override;
    bool events = false;        // what becomes of the call is told as it happens
    std::vector<Field> fields;  // stays empty where the code came as code_b64
    std::vector<Field> beside;  // what came beside code_b64: no arguments, but the adaptor may look at them
    std::vector<Field> unused;  // repeated fields and JSON's null: it may look at these too

    // What is left without what the client has sent.
    Params function() const {
        Params params;
        params.events = events;  // a header may have said so
        if (published) {
            params.published = true;
            params.code_id = code_id;
            params.fn_name = fn_name;
            params.use_cache = use_cache;
            params.cache_kwargs = cache_kwargs;
        }
        return params;
    }
};

// What is wrong with the request and what to do about it, for the client to read.
using Complaint = std::optional<std::string>;

// Where a request's parameters are: the query if it names code, else the body.
enum class Place { query, json, urlencoded, multipart, nowhere };

// The complaint where no code is found: says how to send it.
std::string no_code_text();

}  // namespace owt
