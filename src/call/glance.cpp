#include "call/glance.hpp"

#include <algorithm>
#include <optional>

#include "call/intake.hpp"
#include "call/json.hpp"
#include "call/text.hpp"
#include "call/urlencoded.hpp"

namespace owt {

namespace {

// Walks over JSON without judging it. Each step gives what it went over, or nothing where the text ends before that.
class Walk {
  public:
    explicit Walk(std::string_view text) : text_(text) {}

    // The next character that is no white space; NUL at the end.
    char next() {
        at_ = std::min(text_.find_first_not_of(white_space, at_), text_.size());
        return at_ < text_.size() ? text_[at_] : '\0';
    }

    bool skip(char c) {
        bool there = next() == c;
        at_ += there ? 1 : 0;
        return there;
    }

    // With its quotes.
    std::optional<std::string_view> string() {
        std::size_t begin = at_;
        std::size_t end = text_.find_first_of("\"\\", begin + 1);
        while (end < text_.size() && text_[end] == '\\') {
            end = text_.find_first_of("\"\\", end + 2);  // after what is escaped
        }
        if (end >= text_.size()) {
            return std::nullopt;
        }
        at_ = end + 1;
        return text_.substr(begin, at_ - begin);
    }

    // A value that is no string, up to what follows it.
    bool other() {
        std::size_t depth = 0;
        while ((at_ = text_.find_first_of("\"[]{},", at_)) < text_.size()) {
            char c = text_[at_];
            if (depth == 0 && (c == ',' || c == '}' || c == ']')) {
                return true;
            }
            if (c == '"') {
                if (!string()) {
                    return false;
                }
                continue;
            }
            depth += c == '[' || c == '{' ? 1 : 0;
            depth -= c == ']' || c == '}' ? 1 : 0;
            ++at_;
        }
        return false;
    }

  private:
    std::string_view text_;
    std::size_t at_ = 0;
};

// Of an object's members the first that names code, as an object of its own; empty if there is none.
std::string first_code_in_json(std::string_view text) {
    Walk walk(without_mark(text));
    if (!walk.skip('{')) {
        return {};
    }
    do {
        auto name = walk.next() == '"' ? walk.string() : std::nullopt;
        if (!name || !walk.skip(':')) {
            return {};
        }
        if (walk.next() != '"') {
            if (!walk.other()) {
                return {};
            }
            continue;
        }
        auto value = walk.string();
        if (value && value->size() > 2 && holds_code(parameter_of(name->substr(1, name->size() - 2)))) {
            return std::string("{").append(*name).append(":").append(*value).append("}");
        }
    } while (walk.skip(','));
    return {};
}

}  // namespace

std::string glance_code_id(Place place, std::string_view beginning) {
    Params params;
    Complaint complaint = no_code_text();
    if (place == Place::json) {
        if (std::string object = first_code_in_json(beginning); !object.empty()) {
            complaint = read_json(object, params);
        }
    } else if (place == Place::urlencoded) {
        beginning = beginning.substr(0, beginning.rfind('&') + 1);  // the last pair may go on
        for_each_pair(beginning, [&](std::string_view name, std::string_view value) {
            bool found = !value.empty() && holds_code(parameter_of(decode_percent(name)));
            if (found) {
                complaint = read_urlencoded(std::string(name).append("=").append(value), params);
            }
            return !found;
        });
    }
    return complaint ? std::string() : params.code_id;
}

}  // namespace owt
