// A user is kept and compared as a hash, too: so all comparisons are of one length and take one time.

#include "guard/auth.hpp"
#include "call/base64.hpp"
#include "call/sha256.hpp"
#include "call/text.hpp"

#include <openssl/crypto.h>

#include <algorithm>
#include <optional>

namespace owt {

namespace {

constexpr std::size_t digest_size = 64;

constexpr std::string_view how_to =
    "give user:sha256, where sha256 is the 64 hex digits of the password's SHA-256: `printf %s 'PASSWORD' | sha256sum`,"
    " or `printf %s 'PASSWORD' | openssl dgst -sha256 -r`";

bool is_control(char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

std::string key(std::string_view user, std::string_view digest) {
    return sha256_hex(user).append(digest);
}

// RFC 7235's token68, and of that what is base64. decode_base64() by itself forgives more.
std::optional<std::string> decode_token(std::string_view text) {
    constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::size_t end = std::min(text.find_first_not_of(alphabet), text.size());
    std::string_view padding = text.substr(end);
    if (end == 0 || padding.find_first_not_of('=') != std::string_view::npos) {
        return std::nullopt;
    }
    return decode_base64(text);
}

// user:password of "Basic <base64>".
std::optional<std::string> decode_basic(std::string_view authorization) {
    constexpr std::string_view scheme = "basic ";
    if (authorization.size() < scheme.size() ||
        !std::ranges::equal(authorization.substr(0, scheme.size()), scheme, {}, to_lower)) {
        return std::nullopt;
    }
    std::string_view token = authorization.substr(scheme.size());
    token.remove_prefix(std::min(token.find_first_not_of(' '), token.size()));
    token = token.substr(0, token.find_last_not_of(' ') + 1);
    return decode_token(token);
}

}  // namespace

Complaint Logins::add(std::string_view text) {
    std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) {
        return "no colon in it: " + std::string(how_to);
    }
    std::string_view user = text.substr(0, colon);
    if (user.empty()) {
        return "no user before the colon: " + std::string(how_to);
    }
    if (!is_utf8(user) || std::ranges::any_of(user, is_control)) {
        return "the user's name holds what no client can send (control characters, or bytes that are not UTF-8)";
    }
    std::string digest(text.substr(colon + 1));
    std::ranges::transform(digest, digest.begin(), to_lower);
    if (digest.size() != digest_size || digest.find_first_not_of("0123456789abcdef") != std::string::npos) {
        return "what follows the first colon is no SHA-256: " + std::string(how_to);
    }
    if (digest == sha256_hex("")) {
        return "this is the SHA-256 of an empty password: " + std::string(how_to);
    }
    logins_.push_back(key(user, digest));
    return {};
}

std::optional<std::string> Logins::admit(std::string_view authorization) const {
    auto decoded = decode_basic(authorization);
    if (!decoded) {
        return std::nullopt;
    }
    std::size_t colon = decoded->find(':');
    if (colon == std::string::npos) {
        return std::nullopt;
    }
    std::string given = key(decoded->substr(0, colon), sha256_hex(std::string_view(*decoded).substr(colon + 1)));
    // Every login is compared to its end, whether or not one was found before.
    int found = 0;
    for (const std::string& login : logins_) {
        found |= static_cast<int>(CRYPTO_memcmp(given.data(), login.data(), login.size()) == 0);
    }
    decoded->resize(colon);
    return found != 0 ? std::move(decoded) : std::nullopt;
}

Problem not_logged_in() {
    return {401, "not-logged-in",
            "This server runs code for those who log in. Send a user and password that its owt_auth names, as `curl -u "
            "USER:PASSWORD`."};
}

}  // namespace owt
