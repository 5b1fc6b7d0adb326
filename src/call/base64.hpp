// Base64 as programs really send it. Pure: knows neither nginx nor Python.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace owt {

// Standard and URL-safe alphabets, missing padding, white space ignored but a space standing for '+'.
std::optional<std::string> decode_base64(std::string_view text);

// The standard alphabet, padded.
std::string encode_base64(std::string_view bytes);

}  // namespace owt
