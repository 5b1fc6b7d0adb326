#include "call/intake.hpp"

#include <utility>

#include "call/base64.hpp"
#include "call/sha256.hpp"
#include "call/text.hpp"

namespace owt {

namespace {

// Each further field is compared with those before it: a bound keeps that short. Werkzeug has the same.
constexpr size_t max_fields = 1000;
constexpr size_t max_name = 255;

std::optional<bool> to_bool(std::string_view text) {
    for (std::string_view word : {"true", "1", "yes", "on"}) {
        if (same(text, word)) {
            return true;
        }
    }
    for (std::string_view word : {"false", "0", "no", "off"}) {
        if (same(text, word)) {
            return false;
        }
    }
    return {};
}

std::string twice(Parameter first, Parameter second) {
    return "Code is named twice, by " +
           (first == second ? "two fields " + name_of(first) : name_of(first) + " and " + name_of(second)) +
           ". Send one of code, code_b64 and code_id, once.";
}

Complaint set_bool(Parameter parameter, std::string_view text, bool& flag) {
    auto value = to_bool(text);
    if (!value) {
        return name_of(parameter) + " is " + shown(text) + ". Send true, 1, yes or on, or else false, 0, no or off.";
    }
    flag = *value;
    return {};
}

}  // namespace

Intake::Intake(Params& params) : params_(params) {
    params_ = params.function();
}

Complaint Intake::first(std::string_view name, std::string value) {
    Parameter parameter = meaning(name);
    if (parameter == Parameter::other) {
        add(name, std::move(value), false, false);
        return {};
    }
    if (!holds_code(parameter)) {
        if (seen_[size_t(parameter)]) {
            return {};
        }
        seen_[size_t(parameter)] = true;
    }
    return set(parameter, std::move(value));
}

Complaint Intake::set(Parameter parameter, std::string text) {
    // What holds code is checked, and complained of, as code.
    if (!holds_code(parameter) && !is_utf8(text)) {
        return name_of(parameter) + " is not UTF-8. Send it as UTF-8.";
    }
    switch (parameter) {
        case Parameter::code:
        case Parameter::code_b64:
        case Parameter::code_id:
            if (text.empty()) {
                return {};
            }
            if (named_ != Parameter::other) {
                return twice(named_, parameter);
            }
            named_ = parameter;
            sent_ = std::move(text);
            return {};
        case Parameter::fn_name:
            return set_fn_name(std::move(text));
        case Parameter::kwargs:
            kwargs_ = std::move(text);
            return {};
        case Parameter::kwargs_b64:
            kwargs_b64_ = std::move(text);
            return {};
        case Parameter::use_cache:
            return set_bool(parameter, text, params_.use_cache);
        case Parameter::cache_kwargs:
            return set_bool(parameter, text, params_.cache_kwargs);
        case Parameter::cache_key_override:
            // Left empty in a form it would be one key for everybody's results.
            params_.cache_key_override.reset();
            if (!text.empty()) {
                params_.cache_key_override = std::move(text);
            }
            return {};
        case Parameter::events:
            return set_bool(parameter, text, params_.events);
        case Parameter::other:
            break;
    }
    return {};
}

void Intake::unset(Parameter parameter) {
    switch (parameter) {
        case Parameter::fn_name:
            params_.fn_name = "run";
            break;
        case Parameter::kwargs:
            kwargs_.clear();
            break;
        case Parameter::kwargs_b64:
            kwargs_b64_.clear();
            break;
        case Parameter::use_cache:
            params_.use_cache = false;
            break;
        case Parameter::cache_kwargs:
            params_.cache_kwargs = false;
            break;
        case Parameter::cache_key_override:
            params_.cache_key_override.reset();
            break;
        case Parameter::events:
            params_.events = false;
            break;
        default:  // what names code beside a null is named once
            break;
    }
}

void Intake::add(std::string_view name, std::string value, bool json, bool replace) {
    if (!count()) {
        return;
    }
    if (!is_utf8(name)) {
        about_fields_ = "The name of the field " + shown(name) + " is not UTF-8.";
    } else if (!json && !is_utf8(value)) {
        about_fields_ = "The field " + shown(name) + " is not UTF-8. Send bytes as a file part of a multipart form.";
    } else if (auto field = find(name); field == params_.fields.end()) {
        params_.fields.push_back({std::string(name), std::move(value), json});
    } else if (replace) {
        field->value = std::move(value);
        field->json = json;
    } else {
        params_.unused.push_back({std::string(name), std::move(value), json});
    }
}

void Intake::remove(std::string_view name) {
    if (!count()) {
        return;
    }
    if (auto field = find(name); field != params_.fields.end()) {
        params_.fields.erase(field);
    }
    params_.unused.push_back({std::string(name), "null", true});
}

Complaint Intake::finish() {
    if (params_.published) {
        return about_fields_;
    }
    Complaint complaint = named_ == Parameter::other     ? no_code_text()
                          : named_ == Parameter::code_id ? finish_id()
                                                         : finish_code();
    if (complaint) {
        return complaint;
    }
    if (named_ == Parameter::code_b64) {
        params_.beside.swap(params_.fields);
        if (about_fields_ && params_.cache_kwargs) {
            params_.use_cache = false;  // not all of them are known, to tell results apart by
        }
    } else if (about_fields_) {
        return about_fields_;
    }
    return finish_kwargs();
}

// False if no further field is looked at.
bool Intake::count() {
    if (!about_fields_ && ++count_ > max_fields) {
        about_fields_ =
            "There are more than " + std::to_string(max_fields) + " fields. Send them in one, as a list or an object.";
    }
    return !about_fields_;
}

std::vector<Field>::iterator Intake::find(std::string_view name) {
    return std::ranges::find(params_.fields, name, &Field::name);
}

Complaint Intake::set_fn_name(std::string text) {
    if (text.empty() || text.size() > max_name || text.find('\0') != std::string::npos) {
        return "fn_name " + shown(text) +
               " is no function's name. Send the name of a function in the code, or leave "
               "fn_name out to call run.";
    }
    params_.fn_name = std::move(text);
    return {};
}

Complaint Intake::finish_id() {
    constexpr std::string_view prefix = "sha256:";
    std::string_view digits = sent_;
    if (!digits.starts_with(prefix) || digits.size() != prefix.size() + 64 ||
        std::ranges::any_of(digits.substr(prefix.size()), [](char c) { return hex_digit(c) < 0; })) {
        return "code_id is " + shown(sent_) + ". Send sha256: and the 64 hex digits of the source's SHA-256.";
    }
    for (char c : digits.substr(prefix.size())) {
        params_.code_id += to_lower(c);
    }
    return {};
}

Complaint Intake::finish_code() {
    if (named_ == Parameter::code_b64) {
        auto source = decode_base64(sent_);
        if (!source) {
            return "code_b64 is not base64. Send base64 of the UTF-8 source, as `base64 -w0 "
                   "adaptor.py` prints it.";
        }
        params_.code = std::move(*source);
    } else {
        params_.code = std::move(sent_);
    }
    if (trim(params_.code).empty()) {
        return no_code_text();
    }
    if (!is_utf8(params_.code)) {
        return "The code is not UTF-8. Save the source as UTF-8 and send it again.";
    }
    if (params_.code.find('\0') != std::string::npos) {
        return "The code holds a NUL byte, which Python's source cannot. Write it as \\0 in a "
               "string.";
    }
    params_.code_id = sha256_hex(params_.code);
    return {};
}

Complaint Intake::finish_kwargs() {
    bool plain = !trim(kwargs_).empty();
    if (trim(kwargs_b64_).empty()) {
        if (plain) {
            params_.kwargs = std::move(kwargs_);
        }
        return {};
    }
    if (plain) {
        return "Both kwargs and kwargs_b64 are given. Send one of them.";
    }
    auto text = decode_base64(kwargs_b64_);
    if (!text) {
        return "kwargs_b64 is not base64. Send base64 of a JSON object or a Python dict.";
    }
    if (!is_utf8(*text)) {
        return "kwargs_b64 does not decode to UTF-8. Send base64 of UTF-8 text.";
    }
    if (!trim(*text).empty()) {
        params_.kwargs = std::move(*text);
    }
    return {};
}

Complaint read_form(const std::vector<std::pair<std::string, std::string>>& form, Params& params) {
    Intake intake(params);
    for (const auto& [name, value] : form) {
        if (auto complaint = intake.first(name, value)) {
            return complaint;
        }
    }
    return intake.finish();
}

}  // namespace owt
