// What the names of a request's fields mean, whatever format they came in: each reader (urlencoded, JSON, form) cuts
// its text into names and values, an Intake keeps what came and at the end judges the whole. Pure: knows neither nginx
// nor Python.

#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "call/params.hpp"

namespace owt {

enum class Parameter {
    code,
    code_b64,
    code_id,
    fn_name,
    kwargs,
    kwargs_b64,
    use_cache,
    cache_kwargs,
    cache_key_override,
    events,
    other
};

inline constexpr std::array<std::string_view, size_t(Parameter::other)> parameter_names = {
    "code",         "code_b64",           "code_id", "fn_name", "kwargs", "kwargs_b64", "use_cache",
    "cache_kwargs", "cache_key_override", "events"};

inline Parameter parameter_of(std::string_view name) {
    return Parameter(std::ranges::find(parameter_names, name) - parameter_names.begin());
}

inline std::string name_of(Parameter parameter) {
    return std::string(parameter_names[size_t(parameter)]);
}

constexpr bool holds_code(Parameter parameter) {
    return parameter <= Parameter::code_id;
}

class Intake {
  public:
    explicit Intake(Params& params);

    // What a field of this name is. Of a published function's all are arguments.
    Parameter meaning(std::string_view name) const { return params_.published ? Parameter::other : parameter_of(name); }
    bool is_published() const { return params_.published; }

    // Of a repeated field the first counts; of those that name code there may be one.
    Complaint first(std::string_view name, std::string value);
    Complaint set(Parameter parameter, std::string text);
    // As if it had not been sent.
    void unset(Parameter parameter);
    // A keyword argument. What is wrong with one does not matter beside code_b64: finish() tells.
    void add(std::string_view name, std::string value, bool json, bool replace);
    void remove(std::string_view name);
    Complaint finish();

  private:
    bool count();
    std::vector<Field>::iterator find(std::string_view name);
    Complaint set_fn_name(std::string text);
    Complaint finish_id();
    Complaint finish_code();
    Complaint finish_kwargs();

    Params& params_;
    Parameter named_ = Parameter::other;  // what names the code,
    std::string sent_;                    // and its value as it came
    std::string kwargs_;
    std::string kwargs_b64_;
    std::array<bool, size_t(Parameter::other)> seen_{};
    size_t count_ = 0;
    Complaint about_fields_;
};

// Parameters from decoded fields in the order sent, as a multipart parser (Werkzeug's) gives them. On a complaint the
// contents of params are unspecified.
Complaint read_form(const std::vector<std::pair<std::string, std::string>>& form, Params& params);

}  // namespace owt
