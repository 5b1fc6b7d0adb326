#include "call/head.hpp"

#include <algorithm>
#include <string_view>

namespace owt {

namespace {

bool is_token(std::string_view name) {
    // RFC 9110, 5.6.2
    constexpr std::string_view extra = "!#$%&'*+-.^_`|~";
    return !name.empty() && std::all_of(name.begin(), name.end(), [&](unsigned char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               extra.find(static_cast<char>(c)) != std::string_view::npos;
    });
}

bool is_field_value(std::string_view value) {
    return std::all_of(value.begin(), value.end(),
                       [](unsigned char c) { return c == '\t' || (c >= 0x20 && c != 0x7f); });
}

}  // namespace

void Headers::push_back(Header header) {
    auto all = all_ != nullptr ? std::make_shared<std::vector<Header>>(*all_) : std::make_shared<std::vector<Header>>();
    all->push_back(std::move(header));
    all_ = std::move(all);
}

std::optional<std::string> complain(const Head& head) {
    if (head.status < 200 || head.status > 599) {
        return "the status " + std::to_string(head.status) + " cannot be sent: use 200 to 599";
    }
    for (const Header& header : head.headers) {
        if (!is_token(header.name)) {
            return "the header name '" + header.name + "' is not a token of RFC 9110";
        }
        if (!is_field_value(header.value)) {
            return "the value of the header '" + header.name + "' holds a control character";
        }
    }
    return std::nullopt;
}

}  // namespace owt
