// owt_auth: who may log in, and whether somebody does. Pure: knows neither nginx nor Python.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "call/params.hpp"
#include "call/problem.hpp"

namespace owt {

class Logins {
  public:
    // One argument of owt_auth: user:sha256. A user may have several passwords. The complaint never shows the argument,
    // which may hold a password.
    Complaint add(std::string_view text);
    bool empty() const { return logins_.empty(); }

    // The value of an Authorization header: its user if user and password are among these. Takes as long for an
    // unknown user as for a wrong password.
    std::optional<std::string> admit(std::string_view authorization) const;

  private:
    std::vector<std::string> logins_;  // SHA-256 of the user and of the password, in hex
};

// What goes with a 401.
inline constexpr std::string_view www_authenticate = R"(Basic realm="owt", charset="UTF-8")";
Problem not_logged_in();

}  // namespace owt
