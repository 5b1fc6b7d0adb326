// Three readers (urlencoded, JSON, form) cut their text into names and values; one Intake knows what
// the names mean, keeps what came, and at the end judges the whole. Only the JSON reader knows types.

#include "call/params.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

namespace owt {
namespace {

namespace ondemand = simdjson::ondemand;

// Each further field is compared with those before it: a bound keeps that short. Werkzeug has the same.
constexpr size_t max_fields = 1000;
// Python's json.loads gives up at about twice this.
constexpr int max_depth = 500;
constexpr size_t max_name = 255;
// A body larger than this gets a parser of its own, so that no worker keeps the largest it ever saw.
constexpr size_t keep_parser = 1 << 20;

constexpr std::string_view white_space = " \t\r\n";

std::string_view trim(std::string_view text) {
    size_t begin = text.find_first_not_of(white_space);
    if (begin == std::string_view::npos) {
        return {};
    }
    return text.substr(begin, text.find_last_not_of(white_space) - begin + 1);
}

char to_lower(char c) {
    return c >= 'A' && c <= 'Z' ? char(c | 0x20) : c;
}

// Without the byte order mark that some programs put in front of JSON.
std::string_view without_mark(std::string_view text) {
    return text.starts_with("\xEF\xBB\xBF") ? text.substr(3) : text;
}

bool equals_ignoring_case(std::string_view text, std::string_view lower) {
    return std::ranges::equal(text, lower, {}, to_lower);
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// A name or value as a complaint shows it: short, on one line, UTF-8.
std::string shown(std::string_view text) {
    constexpr size_t limit = 60;
    std::string_view part = text.substr(0, limit);
    if (part.size() < text.size()) {
        while (!part.empty() && (text[part.size()] & 0xC0) == 0x80) {
            part.remove_suffix(1);
        }
    }
    bool utf8 = is_utf8(part);
    std::string out = "'";
    for (unsigned char c : part) {
        out += c < 0x20 || c == 0x7F || (c >= 0x80 && !utf8) ? '?' : char(c);
    }
    out += part.size() < text.size() ? "...'" : "'";
    return out;
}

// ---- what the names mean ----

enum class Key {
    code,
    code_b64,
    code_id,
    fn_name,
    kwargs,
    kwargs_b64,
    use_cache,
    cache_kwargs,
    cache_key_override,
    other
};

constexpr std::array<std::string_view, size_t(Key::other)> key_names = {
    "code",       "code_b64",  "code_id",      "fn_name",           "kwargs",
    "kwargs_b64", "use_cache", "cache_kwargs", "cache_key_override"};

Key key_of(std::string_view name) {
    return Key(std::ranges::find(key_names, name) - key_names.begin());
}

std::string name_of(Key key) {
    return std::string(key_names[size_t(key)]);
}

bool holds_code(Key key) {
    return key <= Key::code_id;
}

std::optional<bool> to_bool(std::string_view text) {
    for (std::string_view word : {"true", "1", "yes", "on"}) {
        if (equals_ignoring_case(text, word)) {
            return true;
        }
    }
    for (std::string_view word : {"false", "0", "no", "off"}) {
        if (equals_ignoring_case(text, word)) {
            return false;
        }
    }
    return {};
}

class Intake {
  public:
    explicit Intake(Params& params) : params_(params) { params_ = Params{}; }

    // Of a repeated field the first counts; for those that name code see set().
    Complaint first(std::string_view name, std::string value) {
        Key key = key_of(name);
        if (key == Key::other) {
            add(name, std::move(value), false, false);
            return {};
        }
        if (!holds_code(key)) {
            if (seen_[size_t(key)]) {
                return {};
            }
            seen_[size_t(key)] = true;
        }
        return set(key, std::move(value));
    }

    Complaint set(Key key, std::string text) {
        // What holds code is checked, and complained of, as code.
        if (!holds_code(key) && !is_utf8(text)) {
            return name_of(key) + " is not UTF-8. Send it as UTF-8.";
        }
        switch (key) {
            case Key::code:
            case Key::code_b64:
            case Key::code_id:
                if (text.empty()) {
                    return {};
                }
                if (named_ != Key::other) {
                    return twice(named_, key);
                }
                named_ = key;
                sent_ = std::move(text);
                return {};
            case Key::fn_name:
                return set_fn_name(std::move(text));
            case Key::kwargs:
                kwargs_ = std::move(text);
                return {};
            case Key::kwargs_b64:
                kwargs_b64_ = std::move(text);
                return {};
            case Key::use_cache:
                return set_bool(key, text, params_.use_cache);
            case Key::cache_kwargs:
                return set_bool(key, text, params_.cache_kwargs);
            case Key::cache_key_override:
                // Left empty in a form it would be one key for everybody's results.
                params_.cache_key_override.reset();
                if (!text.empty()) {
                    params_.cache_key_override = std::move(text);
                }
                return {};
            case Key::other:
                break;
        }
        return {};
    }

    // As if it had not been sent.
    void unset(Key key) {
        switch (key) {
            case Key::fn_name:
                params_.fn_name = "run";
                break;
            case Key::kwargs:
                kwargs_.clear();
                break;
            case Key::kwargs_b64:
                kwargs_b64_.clear();
                break;
            case Key::use_cache:
                params_.use_cache = false;
                break;
            case Key::cache_kwargs:
                params_.cache_kwargs = false;
                break;
            case Key::cache_key_override:
                params_.cache_key_override.reset();
                break;
            default:  // what names code beside a null is named once
                break;
        }
    }

    // A keyword argument. What is wrong with one does not matter beside code_b64: finish() tells.
    void add(std::string_view name, std::string value, bool json, bool replace) {
        if (!count()) {
            return;
        }
        if (!is_utf8(name)) {
            about_fields_ = "The name of the field " + shown(name) + " is not UTF-8.";
        } else if (!json && !is_utf8(value)) {
            about_fields_ =
                "The field " + shown(name) + " is not UTF-8. Send bytes as a file part of a multipart form.";
        } else if (auto field = find(name); field == params_.fields.end()) {
            params_.fields.push_back({std::string(name), std::move(value), json});
        } else if (replace) {
            field->value = std::move(value);
            field->json = json;
        } else {
            params_.unused.push_back({std::string(name), std::move(value), json});
        }
    }

    void remove(std::string_view name) {
        if (!count()) {
            return;
        }
        if (auto field = find(name); field != params_.fields.end()) {
            params_.fields.erase(field);
        }
        params_.unused.push_back({std::string(name), "null", true});
    }

    Complaint finish() {
        Complaint complaint = named_ == Key::other     ? no_code_text()
                              : named_ == Key::code_id ? finish_id()
                                                       : finish_code();
        if (complaint) {
            return complaint;
        }
        if (named_ == Key::code_b64) {
            params_.beside.swap(params_.fields);
            if (about_fields_ && params_.cache_kwargs) {
                params_.use_cache = false;  // not all of them are known, to tell results apart by
            }
        } else if (about_fields_) {
            return about_fields_;
        }
        return finish_kwargs();
    }

  private:
    // False if no further field is looked at.
    bool count() {
        if (!about_fields_ && ++count_ > max_fields) {
            about_fields_ = "There are more than " + std::to_string(max_fields) +
                            " fields. Send them in one, as a list or an object.";
        }
        return !about_fields_;
    }

    std::vector<Field>::iterator find(std::string_view name) {
        return std::ranges::find(params_.fields, name, &Field::name);
    }

    static std::string twice(Key first, Key second) {
        return "Code is named twice, by " +
               (first == second ? "two fields " + name_of(first) : name_of(first) + " and " + name_of(second)) +
               ". Send one of code, code_b64 and code_id, once.";
    }

    Complaint set_fn_name(std::string text) {
        if (text.empty() || text.size() > max_name || text.find('\0') != std::string::npos) {
            return "fn_name " + shown(text) +
                   " is no function's name. Send the name of a function in the code, or leave "
                   "fn_name out to call run.";
        }
        params_.fn_name = std::move(text);
        return {};
    }

    static Complaint set_bool(Key key, std::string_view text, bool& flag) {
        auto value = to_bool(text);
        if (!value) {
            return name_of(key) + " is " + shown(text) + ". Send true, 1, yes or on, or else false, 0, no or off.";
        }
        flag = *value;
        return {};
    }

    Complaint finish_id() {
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

    Complaint finish_code() {
        if (named_ == Key::code_b64) {
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

    Complaint finish_kwargs() {
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

    Params& params_;
    Key named_ = Key::other;  // what names the code,
    std::string sent_;        // and its value as it came
    std::string kwargs_;
    std::string kwargs_b64_;
    std::array<bool, size_t(Key::other)> seen_{};
    size_t count_ = 0;
    Complaint about_fields_;
};

// ---- urlencoded ----

std::string decode_percent(std::string_view text) {
    std::string out(text);
    size_t length = out.find_first_of("%+");
    if (length == std::string::npos) {
        return out;
    }
    for (size_t i = length; i < text.size(); ++i) {
        char c = text[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%' && text.size() - i > 2) {
            int high = hex_digit(text[i + 1]);
            int low = hex_digit(text[i + 2]);
            if (high >= 0 && low >= 0) {
                c = char(high << 4 | low);
                i += 2;
            }
        }
        out[length++] = c;
    }
    out.resize(length);
    return out;
}

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

// ---- JSON ----

bool digits(std::string_view& text) {
    size_t count = std::min(text.find_first_not_of("0123456789"), text.size());
    text.remove_prefix(count);
    return count > 0;
}

// RFC 8259's grammar, of any length: Python's numbers have no bounds.
bool valid_number(std::string_view text) {
    if (text.starts_with('-')) {
        text.remove_prefix(1);
    }
    if (text.starts_with('0')) {
        text.remove_prefix(1);
    } else if (!digits(text)) {
        return false;
    }
    if (text.starts_with('.')) {
        text.remove_prefix(1);
        if (!digits(text)) {
            return false;
        }
    }
    if (text.starts_with('e') || text.starts_with('E')) {
        text.remove_prefix(1);
        if (text.starts_with('+') || text.starts_with('-')) {
            text.remove_prefix(1);
        }
        if (!digits(text)) {
            return false;
        }
    }
    return text.empty();
}

// text follows an opening quote whose closing one simdjson has seen. Only escapes can still be wrong.
bool valid_escapes(const char* text) {
    for (; *text != '"'; ++text) {
        if (*text != '\\') {
            continue;
        }
        ++text;
        if (*text == 'u') {
            for (int i = 0; i < 4; ++i) {
                if (hex_digit(*++text) < 0) {
                    return false;
                }
            }
        } else if (!std::strchr("\"\\/bfnrt", *text) || *text == '\0') {
            return false;
        }
    }
    return true;
}

// Walks through a value of any kind. simdjson itself looks only at what it is asked for.
simdjson::error_code check(ondemand::value value, int depth) {
    ondemand::json_type type;
    if (auto error = value.type().get(type)) {
        return error;
    }
    if (depth > max_depth) {
        return simdjson::DEPTH_ERROR;
    }
    std::string_view token = trim(value.raw_json_token());
    switch (type) {
        case ondemand::json_type::string: {
            ondemand::raw_json_string string;
            if (auto error = value.get_raw_json_string().get(string)) {
                return error;
            }
            return valid_escapes(string.raw()) ? simdjson::SUCCESS : simdjson::STRING_ERROR;
        }
        case ondemand::json_type::number:
            return valid_number(token) ? simdjson::SUCCESS : simdjson::NUMBER_ERROR;
        case ondemand::json_type::boolean:
            return token == "true"    ? simdjson::SUCCESS
                   : token == "false" ? simdjson::SUCCESS
                   : token[0] == 't'  ? simdjson::T_ATOM_ERROR
                                      : simdjson::F_ATOM_ERROR;
        case ondemand::json_type::null:
            return token == "null" ? simdjson::SUCCESS : simdjson::N_ATOM_ERROR;
        case ondemand::json_type::array: {
            ondemand::array array;
            if (auto error = value.get_array().get(array)) {
                return error;
            }
            for (auto element : array) {
                ondemand::value child;
                if (auto error = element.get(child)) {
                    return error;
                }
                if (auto error = check(child, depth + 1)) {
                    return error;
                }
            }
            return simdjson::SUCCESS;
        }
        case ondemand::json_type::object: {
            ondemand::object object;
            if (auto error = value.get_object().get(object)) {
                return error;
            }
            for (auto member : object) {
                ondemand::field field;
                if (auto error = std::move(member).get(field)) {
                    return error;
                }
                if (!valid_escapes(field.key().raw())) {
                    return simdjson::STRING_ERROR;
                }
                if (auto error = check(field.value(), depth + 1)) {
                    return error;
                }
            }
            return simdjson::SUCCESS;
        }
    }
    return simdjson::TAPE_ERROR;
}

const char* wanted(Key key) {
    switch (key) {
        case Key::use_cache:
        case Key::cache_kwargs:
            return "true or false";
        case Key::cache_key_override:
            return "a string or a number";
        default:
            return "a string";
    }
}

class JsonReader {
  public:
    Complaint read(std::string_view body, Params& params) {
        body = without_mark(body);
        size_t room = body.size() + simdjson::SIMDJSON_PADDING;
        if (buffer_.size() < room) {
            buffer_.resize(room);
        }
        std::memcpy(buffer_.data(), body.data(), body.size());
        std::memset(buffer_.data() + body.size(), ' ', simdjson::SIMDJSON_PADDING);

        ondemand::document document;
        if (auto error = parser_.iterate(buffer_.data(), body.size(), room).get(document)) {
            return not_json(error);
        }
        size_ = body.size();
        document_ = &document;
        Intake intake(params);
        Complaint complaint = read_object(intake);
        document_ = nullptr;
        return complaint ? complaint : intake.finish();
    }

  private:
    Complaint read_object(Intake& intake) {
        ondemand::object object;
        if (auto error = document_->get_object().get(object)) {
            if (error == simdjson::INCORRECT_TYPE) {
                return "The JSON body is not an object. Send an object with a member code.";
            }
            return not_json(error);
        }
        for (auto member : object) {
            ondemand::field field;
            if (auto error = std::move(member).get(field)) {
                return not_json(error);
            }
            std::string_view name;
            if (auto error = field.unescaped_key().get(name)) {
                return not_json(error);
            }
            if (auto complaint = read_member(intake, name, field.value())) {
                return complaint;
            }
        }
        if (document_->current_location().error() != simdjson::OUT_OF_BOUNDS) {
            return not_json(simdjson::TRAILING_CONTENT);
        }
        return {};
    }

    Complaint read_member(Intake& intake, std::string_view name, ondemand::value value) {
        ondemand::json_type type;
        if (auto error = value.type().get(type)) {
            return not_json(error);
        }
        Key key = key_of(name);
        std::string_view token = trim(value.raw_json_token());

        if (type == ondemand::json_type::string) {
            std::string_view text;
            if (!value.get_string().get(text)) {
                if (key != Key::other) {
                    return intake.set(key, std::string(text));
                }
                intake.add(name, std::string(text), false, true);
                return {};
            }
            // Half of a surrogate pair is valid JSON and a valid str, but no UTF-8.
            if (!valid_escapes(token.data() + 1)) {
                return not_json(simdjson::STRING_ERROR);
            }
            if (key != Key::other) {
                return name_of(key) +
                       " holds half of a surrogate pair (\\ud800 to \\udfff), which is no "
                       "character. Send the pair or leave it out.";
            }
            intake.add(name, std::string(token), true, true);
            return {};
        }

        if (auto error = check(value, 1)) {
            return not_json(error);
        }
        bool container = type == ondemand::json_type::array || type == ondemand::json_type::object;
        if (container) {
            const char* end;
            if (auto error = document_->current_location().get(end)) {
                return not_json(error);
            }
            token = trim({token.data(), size_t(end - token.data())});
        }
        if (type == ondemand::json_type::null) {
            if (key != Key::other) {
                intake.unset(key);
            } else {
                intake.remove(name);
            }
            return {};
        }
        if (key == Key::other) {
            intake.add(name, std::string(token), true, true);
            return {};
        }
        bool number = type == ondemand::json_type::number;
        bool boolean = type == ondemand::json_type::boolean;
        bool fits = key == Key::kwargs || (key == Key::cache_key_override && number) ||
                    ((key == Key::use_cache || key == Key::cache_kwargs) && (boolean || token == "0" || token == "1"));
        if (!fits) {
            return name_of(key) + " must be " + wanted(key) + " in a JSON body, not " + shown(token) + ".";
        }
        return intake.set(key, std::string(token));
    }

    // Ends with where simdjson stands, if it does: close behind what is wrong.
    Complaint not_json(simdjson::error_code error) {
        std::string_view message = simdjson::error_message(error);
        while (message.ends_with('.') || message.ends_with(' ')) {
            message.remove_suffix(1);
        }
        std::string text = "The body is not valid JSON: " + std::string(message);
        const char* here;
        if (document_ && !document_->current_location().get(here)) {
            std::string_view before(buffer_.data(), std::min(size_t(here - buffer_.data()), size_));
            size_t line = 1 + size_t(std::ranges::count(before, '\n'));
            size_t column = before.size() - (before.rfind('\n') + 1) + 1;
            text += ", near line " + std::to_string(line) + ", column " + std::to_string(column);
        }
        return text + ".";
    }

    ondemand::parser parser_;
    std::string buffer_;
    size_t size_ = 0;
    ondemand::document* document_ = nullptr;
};

// ---- base64, SHA-256 ----

constexpr uint8_t bad = 64;

// The value of each byte; 64 for what is not of the alphabets.
constexpr std::array<uint8_t, 256> sextets = [] {
    std::array<uint8_t, 256> table{};
    table.fill(bad);
    constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < alphabet.size(); ++i) {
        table[uint8_t(alphabet[i])] = uint8_t(i);
    }
    table['-'] = table[' '] = table['+'];
    table['_'] = table['/'];
    return table;
}();

struct FreeDigest {
    void operator()(EVP_MD* digest) const { EVP_MD_free(digest); }
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

}  // namespace

std::string no_code_text() {
    return "No code came with this request. Send Python source as the form field code, as a member "
           "code of a JSON object, or base64 of it as code_b64 in the query, for example:\n"
           "curl localhost:9876 --form-string 'code=def run(): return \"Hello\"'";
}

bool names_code(std::string_view query) {
    bool found = false;
    for_each_pair(query, [&](std::string_view name, std::string_view value) {
        found = !value.empty() && (holds_code(key_of(name)) || (name.find('%') != std::string_view::npos &&
                                                                holds_code(key_of(decode_percent(name)))));
        return !found;
    });
    return found;
}

std::string without_parameters(std::string_view query) {
    std::string out;
    for_each_pair(query, [&](std::string_view name, std::string_view value) {
        Key key = key_of(name);
        if (key == Key::other && name.find_first_of("%+") != std::string_view::npos) {
            key = key_of(decode_percent(name));
        }
        if (key == Key::other) {
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
    if (equals_ignoring_case(type, "multipart/form-data")) {
        return Place::multipart;
    }
    constexpr std::string_view suffix = "+json";
    body = without_mark(body);
    if (equals_ignoring_case(type, "application/json") ||
        (type.size() > suffix.size() && equals_ignoring_case(type.substr(type.size() - suffix.size()), suffix)) ||
        body.substr(std::min(body.find_first_not_of(white_space), body.size())).starts_with('{')) {
        return Place::json;
    }
    return equals_ignoring_case(type, "application/x-www-form-urlencoded") ? Place::urlencoded : Place::nowhere;
}

Complaint read_urlencoded(std::string_view text, Params& params) {
    Intake intake(params);
    Complaint complaint;
    for_each_pair(text, [&](std::string_view name, std::string_view value) {
        complaint = intake.first(decode_percent(name), decode_percent(value));
        return !complaint;
    });
    return complaint ? complaint : intake.finish();
}

Complaint read_json(std::string_view body, Params& params) {
    if (body.size() > keep_parser) {
        return JsonReader().read(body, params);
    }
    thread_local JsonReader reader;
    return reader.read(body, params);
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

std::optional<std::string> decode_base64(std::string_view text) {
    // A '+' that became a space stands first in no UTF-8 text: spaces in front are spaces.
    text.remove_prefix(std::min(text.find_first_not_of(white_space), text.size()));
    std::string out(text.size() / 4 * 3 + 3, '\0');
    size_t size = 0;
    uint32_t bits = 0;
    size_t count = 0;  // of sextets
    size_t i = 0;
    while (i < text.size()) {
        if (count % 4 == 0 && text.size() - i >= 4) {
            uint8_t a = sextets[uint8_t(text[i])];
            uint8_t b = sextets[uint8_t(text[i + 1])];
            uint8_t c = sextets[uint8_t(text[i + 2])];
            uint8_t d = sextets[uint8_t(text[i + 3])];
            if ((a | b | c | d) < bad) {
                out[size++] = char(a << 2 | b >> 4);
                out[size++] = char(b << 4 | c >> 2);
                out[size++] = char(c << 6 | d);
                i += 4;
                continue;
            }
        }
        char c = text[i];
        if (c == '=') {
            break;
        }
        ++i;
        uint8_t sextet = sextets[uint8_t(c)];
        if (sextet == bad) {
            if (white_space.find(c) == std::string_view::npos) {
                return {};
            }
            continue;
        }
        bits = bits << 6 | sextet;
        if (++count % 4 == 0) {
            out[size++] = char(bits >> 16);
            out[size++] = char(bits >> 8);
            out[size++] = char(bits);
        }
    }
    size_t rest = count % 4;
    size_t padding = 0;
    for (; i < text.size(); ++i) {
        if (text[i] == '=') {
            ++padding;
        } else if (white_space.find(text[i]) == std::string_view::npos) {
            return {};
        }
    }
    if (rest == 1 || padding > (4 - rest) % 4) {
        return {};
    }
    if (rest >= 2) {
        bits <<= 6 * (4 - rest);
        out[size++] = char(bits >> 16);
    }
    if (rest == 3) {
        out[size++] = char(bits >> 8);
    }
    out.resize(size);
    return out;
}

Digest sha256_of_parts(const std::function<std::string_view()>& next) {
    thread_local std::unique_ptr<EVP_MD, FreeDigest> digest(EVP_MD_fetch(nullptr, "SHA256", nullptr));
    thread_local std::unique_ptr<EVP_MD_CTX, FreeDigest> context(EVP_MD_CTX_new());
    Digest hash;
    static_assert(sizeof(hash) == 32);
    bool fine = digest && context && EVP_DigestInit_ex2(context.get(), digest.get(), nullptr);
    for (std::string_view part = next(); fine && !part.empty(); part = next()) {
        fine = EVP_DigestUpdate(context.get(), part.data(), part.size());
    }
    if (!fine || !EVP_DigestFinal_ex(context.get(), hash.data(), nullptr)) {
        // A hash that is not one would name another's code. Only lack of memory leads here.
        std::abort();
    }
    return hash;
}

Digest sha256(std::string_view bytes) {
    return sha256_of_parts([&bytes] { return std::exchange(bytes, {}); });
}

std::string hex(const Digest& digest) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out(digest.size() * 2, '\0');
    for (size_t i = 0; i < digest.size(); ++i) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    return out;
}

std::string sha256_hex(std::string_view bytes) {
    return hex(sha256(bytes));
}

bool is_utf8(std::string_view bytes) {
    return simdjson::validate_utf8(bytes.data(), bytes.size());
}

}  // namespace owt
