// simdjson looks only at what it is asked for, so values that go on to Python as they came are checked here.

#include "call/json.hpp"

#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

#include <algorithm>
#include <cstring>

#include "call/intake.hpp"
#include "call/text.hpp"

namespace owt {

namespace {

namespace ondemand = simdjson::ondemand;

// Python's json.loads gives up at about twice this.
constexpr int max_depth = 500;
// A body larger than this gets a parser of its own, so that no worker keeps the largest it ever saw.
constexpr size_t keep_parser = 1 << 20;

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
        default:  // from simdjson 4 on there is a name for what is none of these
            return simdjson::TAPE_ERROR;
    }
    return simdjson::TAPE_ERROR;
}

bool is_switch(Parameter parameter) {
    return parameter == Parameter::use_cache || parameter == Parameter::cache_kwargs || parameter == Parameter::events;
}

const char* wanted(Parameter parameter) {
    if (is_switch(parameter)) {
        return "true or false";
    }
    return parameter == Parameter::cache_key_override ? "a string or a number" : "a string";
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
                return intake.is_published() ? "The JSON body is not an object. Send the arguments as its members."
                                             : "The JSON body is not an object. Send an object with a member code.";
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
        Parameter parameter = intake.meaning(name);
        std::string_view token = trim(value.raw_json_token());

        if (type == ondemand::json_type::string) {
            std::string_view text;
            if (!value.get_string().get(text)) {
                if (parameter != Parameter::other) {
                    return intake.set(parameter, std::string(text));
                }
                intake.add(name, std::string(text), false, true);
                return {};
            }
            // Half of a surrogate pair is valid JSON and a valid str, but no UTF-8.
            if (!valid_escapes(token.data() + 1)) {
                return not_json(simdjson::STRING_ERROR);
            }
            if (parameter != Parameter::other) {
                return name_of(parameter) +
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
            if (parameter != Parameter::other) {
                intake.unset(parameter);
            } else {
                intake.remove(name);
            }
            return {};
        }
        if (parameter == Parameter::other) {
            intake.add(name, std::string(token), true, true);
            return {};
        }
        bool number = type == ondemand::json_type::number;
        bool boolean = type == ondemand::json_type::boolean;
        bool fits = parameter == Parameter::kwargs || (parameter == Parameter::cache_key_override && number) ||
                    (is_switch(parameter) && (boolean || token == "0" || token == "1"));
        if (!fits) {
            return name_of(parameter) + " must be " + wanted(parameter) + " in a JSON body, not " + shown(token) + ".";
        }
        return intake.set(parameter, std::string(token));
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
        text += ".";
        std::string_view rest = trim(without_mark({buffer_.data(), size_}));
        if (rest.starts_with('{') && trim(rest.substr(1)).starts_with('\'')) {
            text += " In JSON names and strings stand in double quotes, as in '{\"code\": \"lambda: 1\"}'.";
        }
        return text;
    }

    ondemand::parser parser_;
    std::string buffer_;
    size_t size_ = 0;
    ondemand::document* document_ = nullptr;
};

}  // namespace

Complaint read_json(std::string_view body, Params& params) {
    if (body.size() > keep_parser) {
        return JsonReader().read(body, params);
    }
    thread_local JsonReader reader;
    return reader.read(body, params);
}

}  // namespace owt
