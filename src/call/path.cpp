#include "call/path.hpp"

#include <algorithm>

#include "call/text.hpp"

namespace owt {

namespace {

std::string decode(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); i++) {
        int high = text[i] == '%' && text.size() - i > 2 ? hex_digit(text[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
        if (low < 0) {
            out.push_back(text[i]);
            continue;
        }
        out.push_back(static_cast<char>(high << 4 | low));
        i += 2;
    }
    return out;
}

}  // namespace

std::string path_for_adaptor(std::string_view target, std::string_view uri) {
    std::string_view path = target.substr(0, target.find('?'));
    if (path != uri) {
        std::string sent = decode(path);
        std::string merged = sent;
        auto both_slashes = [](char a, char b) { return a == '/' && b == '/'; };
        merged.erase(std::unique(merged.begin(), merged.end(), both_slashes), merged.end());
        if (merged == uri) {
            return sent;
        }
    }
    return std::string(uri);
}

}  // namespace owt
