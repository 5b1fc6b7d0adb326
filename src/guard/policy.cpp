#include "guard/policy.hpp"

#include <openssl/evp.h>

#include <array>

namespace owt {

namespace {

std::string source(std::string_view text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned size = 0;
    EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr);
    std::array<unsigned char, 2 * EVP_MAX_MD_SIZE> base64;
    int length = EVP_EncodeBlock(base64.data(), digest.data(), static_cast<int>(size));
    return "'sha256-" + std::string(base64.begin(), base64.begin() + length) + "'";
}

}  // namespace

std::string content_policy(std::string_view style, std::string_view script, std::string_view further) {
    return "default-src 'none'; script-src " + source(script) + "; style-src " +
           (style.empty() ? "'unsafe-inline'" : source(style)) +
           "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" + std::string(further);
}

}  // namespace owt
