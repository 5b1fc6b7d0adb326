// Where a request's parameters are. Pure: knows neither nginx nor Python.

#pragma once

#include <string>
#include <string_view>

#include "call/params.hpp"

namespace owt {

// True if the query string has a non-empty field that names code.
bool names_code(std::string_view query);
// True if it also brings what is read as Python: code itself, or kwargs. With code_id and fields alone it does not.
bool brings_python(std::string_view query);

// The query string without the fields that the parameter table names, as they came.
std::string without_parameters(std::string_view query);

// content_type is the header's whole value; body its first bytes.
Place locate(std::string_view query, std::string_view content_type, std::string_view body);

}  // namespace owt
