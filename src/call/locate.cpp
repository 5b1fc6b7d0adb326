#include "call/locate.hpp"

#include <algorithm>

#include "call/intake.hpp"
#include "call/text.hpp"
#include "call/urlencoded.hpp"

namespace owt {

namespace {

// Whether a field that is not empty is one of those.
template <typename Test>
bool has_field(std::string_view query, Test is_wanted) {
    bool found = false;
    for_each_pair(query, [&](std::string_view name, std::string_view value) {
        found = !value.empty() && (is_wanted(parameter_of(name)) || (name.find('%') != std::string_view::npos &&
                                                                     is_wanted(parameter_of(decode_percent(name)))));
        return !found;
    });
    return found;
}

}  // namespace

bool names_code(std::string_view query) {
    return has_field(query, holds_code);
}

bool brings_python(std::string_view query) {
    return names_code(query) && has_field(query, [](Parameter parameter) {
               return parameter == Parameter::code || parameter == Parameter::code_b64 ||
                      parameter == Parameter::kwargs || parameter == Parameter::kwargs_b64;
           });
}

std::string without_parameters(std::string_view query) {
    std::string out;
    for_each_pair(query, [&](std::string_view name, std::string_view value) {
        Parameter parameter = parameter_of(name);
        if (parameter == Parameter::other && name.find_first_of("%+") != std::string_view::npos) {
            parameter = parameter_of(decode_percent(name));
        }
        if (parameter == Parameter::other) {
            out.append(out.empty() ? "" : "&").append(name).append("=").append(value);
        }
        return true;
    });
    return out;
}

Place locate(std::string_view query, std::string_view content_type, std::string_view body) {
    if (names_code(query)) {
        return Place::query;
    }
    std::string_view type = trim(content_type.substr(0, content_type.find(';')));
    if (same(type, "multipart/form-data")) {
        return Place::multipart;
    }
    constexpr std::string_view suffix = "+json";
    body = without_mark(body);
    if (same(type, "application/json") ||
        (type.size() > suffix.size() && same(type.substr(type.size() - suffix.size()), suffix)) ||
        body.substr(std::min(body.find_first_not_of(white_space), body.size())).starts_with('{')) {
        return Place::json;
    }
    return same(type, "application/x-www-form-urlencoded") ? Place::urlencoded : Place::nowhere;
}

}  // namespace owt
