// What is sent when a request is refused. A reader of text gets the detail alone; a program that
// prefers JSON gets the fields of RFC 9457.

#include "call/problem.hpp"

#include <algorithm>
#include <cstddef>
#include <initializer_list>

#include "call/text.hpp"

namespace owt {

Problem queue_full() {
    return {503, "queue-full",
            "All threads are busy and the queue is full: try again in a second. "
            "The server's owt_instance sets threads and queue."};
}

Problem too_many_asynchronous() {
    return {503, "queue-full",
            "As many asynchronous calls run as this server allows: try again in a second. "
            "The line async of its owt_instance says how many."};
}

namespace {

// Cuts the next part off text, at a separator that does not stand within a quoted string.
std::string_view next_part(std::string_view& text, char separator) {
    bool quoted = false;
    size_t i = 0;
    for (; i < text.size() && (quoted || text[i] != separator); ++i) {
        if (text[i] == '"') {
            quoted = !quoted;
        } else if (quoted && text[i] == '\\' && i + 1 < text.size()) {
            ++i;
        }
    }
    std::string_view part = text.substr(0, i);
    text.remove_prefix(std::min(i + 1, text.size()));
    return trim(part, blanks);
}

// In thousandths. What is no weight counts as 0: such a range decides nothing.
int weight(std::string_view text) {
    size_t point = std::min(text.find('.'), text.size());
    std::string_view whole = text.substr(0, point);
    std::string_view fraction = text.substr(std::min(point + 1, text.size()));
    if (text.empty() || (whole != "0" && whole != "1" && !whole.empty()) || fraction.size() > 3) {
        return 0;
    }
    int value = whole == "1" ? 1 : 0;
    for (size_t i = 0; i < 3; ++i) {
        char digit = i < fraction.size() ? fraction[i] : '0';
        if (digit < '0' || digit > '9') {
            return 0;
        }
        value = value * 10 + (digit - '0');
    }
    return value <= 1000 ? value : 0;
}

// How much the client wants one media type: by the most specific range that covers it.
class Wish {
  public:
    // type is "text/plain", group "text/*".
    Wish(std::string_view type, std::string_view group) : type_(type), group_(group) {}

    void consider(std::string_view range, bool has_parameters, int weight) {
        int precision = 0;
        if (same(range, type_)) {
            // text/plain;format=flowed speaks of a variant; beside it text/plain decides.
            precision = has_parameters ? 3 : 4;
        } else if (same(range, group_)) {
            precision = 2;
        } else if (range == "*/*" || range == "*") {
            precision = 1;
        }
        if (precision > precision_) {
            precision_ = precision;
            weight_ = weight;
        } else if (precision > 0 && precision == precision_) {
            weight_ = std::max(weight_, weight);
        }
    }

    int weight() const { return weight_; }

  private:
    std::string_view type_;
    std::string_view group_;
    int precision_ = 0;
    int weight_ = 0;
};

// What an Accept header says of each.
void consider(std::string_view accept, std::initializer_list<Wish*> wishes) {
    while (!accept.empty()) {
        std::string_view parameters = next_part(accept, ',');
        std::string_view range = next_part(parameters, ';');
        int q = 1000;
        bool has_parameters = false;
        while (!parameters.empty()) {
            std::string_view value = next_part(parameters, ';');
            std::string_view name = next_part(value, '=');
            if (same(name, "q")) {
                q = weight(value);
                break;
            }
            has_parameters = has_parameters || !name.empty();
        }
        for (Wish* wish : wishes) {
            wish->consider(range, has_parameters, q);
        }
    }
}

// The bytes of the valid UTF-8 sequence that text begins with. Where there is none: 0, and invalid
// says how many bytes one U+FFFD stands for, as Unicode recommends (the longest beginning of one).
size_t sequence(std::string_view text, size_t& invalid) {
    invalid = 1;
    auto at = [&](size_t i) { return i < text.size() ? (unsigned char)(text[i]) : 0; };
    unsigned char lead = at(0);
    if (lead < 0x80) {
        return 1;
    }
    size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                    : lead >= 0xE0 && lead <= 0xEF ? 3
                    : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                   : 0;
    // Overlong forms, surrogates and what lies beyond U+10FFFF are ruled out by the second byte.
    unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < length; ++i) {
        if (at(i) < low || at(i) > high) {
            invalid = i;
            return 0;
        }
        low = 0x80;
        high = 0xBF;
    }
    return length;
}

}  // namespace

void append_json(std::string& out, std::string_view text) {
    constexpr std::string_view hex = "0123456789abcdef";
    out += '"';
    while (!text.empty()) {
        unsigned char c = text[0];
        size_t invalid = 0;
        size_t length = sequence(text, invalid);
        if (length == 0) {
            out += "\xEF\xBF\xBD";
            length = invalid;
        } else if (c == '"' || c == '\\') {
            out += '\\';
            out += char(c);
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '\t') {
            out += "\\t";
        } else if (c < 0x20) {
            out += "\\u00";
            out += hex[c >> 4];
            out += hex[c & 15];
        } else {
            out += text.substr(0, length);
        }
        text.remove_prefix(length);
    }
    out += '"';
}

bool prefers_json(std::string_view accept) {
    Wish problem("application/problem+json", "application/*");
    Wish json("application/json", "application/*");
    Wish plain("text/plain", "text/*");
    consider(accept, {&problem, &json, &plain});
    return std::max(problem.weight(), json.weight()) > plain.weight();
}

bool prefers_html(std::string_view accept) {
    Wish html("text/html", "text/*");
    Wish json("application/json", "application/*");
    Wish plain("text/plain", "text/*");
    consider(accept, {&html, &json, &plain});
    return html.weight() > std::max(json.weight(), plain.weight());
}

std::string_view reason(int status) {
    switch (status) {
        case 100:
            return "Continue";
        case 101:
            return "Switching Protocols";
        case 103:
            return "Early Hints";
        case 200:
            return "OK";
        case 201:
            return "Created";
        case 202:
            return "Accepted";
        case 203:
            return "Non-Authoritative Information";
        case 204:
            return "No Content";
        case 205:
            return "Reset Content";
        case 206:
            return "Partial Content";
        case 300:
            return "Multiple Choices";
        case 301:
            return "Moved Permanently";
        case 302:
            return "Found";
        case 303:
            return "See Other";
        case 304:
            return "Not Modified";
        case 307:
            return "Temporary Redirect";
        case 308:
            return "Permanent Redirect";
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 402:
            return "Payment Required";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 406:
            return "Not Acceptable";
        case 407:
            return "Proxy Authentication Required";
        case 408:
            return "Request Timeout";
        case 409:
            return "Conflict";
        case 410:
            return "Gone";
        case 411:
            return "Length Required";
        case 412:
            return "Precondition Failed";
        case 413:
            return "Content Too Large";
        case 414:
            return "URI Too Long";
        case 415:
            return "Unsupported Media Type";
        case 416:
            return "Range Not Satisfiable";
        case 417:
            return "Expectation Failed";
        case 418:
            return "I'm a teapot";
        case 421:
            return "Misdirected Request";
        case 422:
            return "Unprocessable Content";
        case 423:
            return "Locked";
        case 424:
            return "Failed Dependency";
        case 425:
            return "Too Early";
        case 426:
            return "Upgrade Required";
        case 428:
            return "Precondition Required";
        case 429:
            return "Too Many Requests";
        case 431:
            return "Request Header Fields Too Large";
        case 451:
            return "Unavailable For Legal Reasons";
        case 500:
            return "Internal Server Error";
        case 501:
            return "Not Implemented";
        case 502:
            return "Bad Gateway";
        case 503:
            return "Service Unavailable";
        case 504:
            return "Gateway Timeout";
        case 505:
            return "HTTP Version Not Supported";
        case 507:
            return "Insufficient Storage";
        case 508:
            return "Loop Detected";
        case 511:
            return "Network Authentication Required";
        default:
            return "Error";
    }
}

std::string problem_json(const Problem& problem) {
    std::string out = "{\"type\": ";
    out.reserve(problem.detail.size() + 160);
    if (problem.type.empty()) {
        append_json(out, "about:blank");
    } else if (problem.type.find(':') != std::string::npos) {
        append_json(out, problem.type);
    } else {
        append_json(out, "urn:owt:" + problem.type);
    }
    out += ", \"title\": ";
    append_json(out, reason(problem.status));
    out += ", \"status\": " + std::to_string(problem.status) + ", \"detail\": ";
    append_json(out, problem.detail);
    out += "}\n";
    return out;
}

std::string problem_text(const Problem& problem) {
    std::string_view detail = problem.detail;
    while (detail.ends_with('\n') || detail.ends_with('\r')) {
        detail.remove_suffix(1);
    }
    std::string out(detail);
    out += '\n';
    return out;
}

}  // namespace owt
