// SHA-256, by which sources and results are known. Pure: knows neither nginx nor Python.

#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>

namespace owt {

using Digest = std::array<unsigned char, 32>;

Digest sha256(std::string_view bytes);
// Of what next gives, part by part, until it gives nothing.
Digest sha256_of_parts(const std::function<std::string_view()>& next);
std::string sha256_hex(std::string_view bytes);
std::string hex(const Digest& digest);

}  // namespace owt
