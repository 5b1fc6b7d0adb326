#include "call/sha256.hpp"

#include <openssl/evp.h>

#include <cstdlib>
#include <memory>
#include <utility>

namespace owt {

namespace {

struct FreeDigest {
    void operator()(EVP_MD* digest) const { EVP_MD_free(digest); }
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

}  // namespace

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
    std::array<char, 2 * std::tuple_size_v<Digest>> out;
    for (size_t i = 0; i < digest.size(); ++i) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    return {out.data(), out.size()};
}

std::string sha256_hex(std::string_view bytes) {
    return hex(sha256(bytes));
}

}  // namespace owt
