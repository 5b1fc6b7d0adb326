// A request as the guard sees it. Pure: knows neither nginx nor Python.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guard/host.hpp"

namespace owt {

// Views point into the request.
struct Visit {
    // The headers that the guard looks at; each may have come several times.
    enum Name {
        host_header,
        forwarded_for,
        real_ip,
        forwarded,
        forwarded_proto,
        fetch_site,
        fetch_mode,
        fetch_dest,
        sec_purpose,
        purpose,
        moz,
        origin,
        referer,
        user_agent,
        upgrade_insecure,
        preflight_method,
        preflight_headers,
        names
    };

    Address peer;  // of the connection
    // Where the listener speaks PROXY: the source that it told, empty if it told none.
    std::optional<std::string_view> proxy_source;
    Address local;  // the address that the peer connected to, never a wildcard
    std::uint16_t port = 0;
    bool https = false;
    std::string_view method;
    std::string_view host;    // nginx's r->headers_in.server: what was asked for, without a port
    bool names_code = false;  // the query does: owt::names_code()
    std::array<std::vector<std::string_view>, names> headers;

    // Takes in any header; those that do not matter here are ignored.
    void add(std::string_view name, std::string_view value);
    const std::vector<std::string_view>& operator[](Name name) const { return headers[name]; }
    // It came once, with this value.
    bool says(Name name, std::string_view value) const;

    // No web page comes to a unix socket but through a front, which passes on what it is called itself.
    bool through_front() const;
    // The request's own origin: what a page of this server has. Empty if it is unclear.
    std::string own_origin() const;
};

}  // namespace owt
