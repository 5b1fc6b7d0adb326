#include "call/text.hpp"

#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

namespace owt {

std::string lower(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(), to_lower);
    return out;
}

bool is_utf8(std::string_view bytes) {
    return simdjson::validate_utf8(bytes.data(), bytes.size());
}

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

std::string escaped(std::string_view line) {
    std::string out;
    auto escape = [&out](unsigned char c) {
        constexpr std::string_view digits = "0123456789abcdef";
        out += {'\\', 'x', digits[c >> 4], digits[c & 15]};
    };
    for (std::size_t i = 0; i < line.size(); i++) {
        auto c = static_cast<unsigned char>(line[i]);
        auto next = i + 1 < line.size() ? static_cast<unsigned char>(line[i + 1]) : 0U;
        if (c == 0xC2 && next >= 0x80 && next < 0xA0) {  // C1, in UTF-8
            escape(static_cast<unsigned char>(next));
            i++;
        } else if ((c < 0x20 && c != '\t') || c == 0x7F) {
            escape(c);
        } else {
            out += line[i];
        }
    }
    return out;
}

}  // namespace owt
