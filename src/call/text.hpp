// Small questions about text that several readers ask. Pure: knows neither nginx nor Python.

#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace owt {

constexpr char to_lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

std::string lower(std::string_view text);

// ASCII's letters alike in both cases.
constexpr bool same(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, {}, to_lower, to_lower);
}

inline constexpr std::string_view letters_and_digits = "0123456789abcdefghijklmnopqrstuvwxyz";
inline constexpr std::string_view white_space = " \t\r\n";

// Around what a header's value holds (RFC 9110, 5.6.3).
inline constexpr std::string_view blanks = " \t";

constexpr std::string_view trim(std::string_view text, std::string_view what = white_space) {
    std::size_t begin = text.find_first_not_of(what);
    if (begin == std::string_view::npos) {
        return {};
    }
    return text.substr(begin, text.find_last_not_of(what) - begin + 1);
}

// The value of a hex digit; negative for what is none.
constexpr int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// What stands in HTML for a character that has a meaning there; empty for any other.
constexpr std::string_view html_of(char32_t c) {
    switch (c) {
        case '&':
            return "&amp;";
        case '<':
            return "&lt;";
        case '>':
            return "&gt;";
        case '"':
            return "&quot;";
        case '\'':
            return "&#39;";
        default:
            return {};
    }
}

bool is_utf8(std::string_view bytes);

// Without the byte order mark that some programs put in front of JSON.
constexpr std::string_view without_mark(std::string_view text) {
    return text.starts_with("\xEF\xBB\xBF") ? text.substr(3) : text;
}

// A name or value as a complaint shows it: short, in quotes, on one line, UTF-8.
std::string shown(std::string_view text);

// A line as a terminal may show it: the control characters in it that a terminal would obey are escaped, but for tabs.
std::string escaped(std::string_view line);

}  // namespace owt
