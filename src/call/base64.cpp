#include "call/base64.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "call/text.hpp"

namespace owt {

namespace {

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

}  // namespace

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

std::string encode_base64(std::string_view bytes) {
    std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // OpenSSL ends it with a NUL
    int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                               reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
    text.resize(static_cast<std::size_t>(size));
    return text;
}

}  // namespace owt
