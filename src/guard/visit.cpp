#include "guard/visit.hpp"

#include <algorithm>

#include "call/text.hpp"

namespace owt {

void Visit::add(std::string_view name, std::string_view value) {
    static constexpr std::array<std::string_view, names> watched = {
        "host",
        "x-forwarded-for",
        "x-real-ip",
        "forwarded",
        "x-forwarded-proto",
        "sec-fetch-site",
        "sec-fetch-mode",
        "sec-fetch-dest",
        "sec-purpose",
        "purpose",
        "x-moz",
        "origin",
        "referer",
        "user-agent",
        "upgrade-insecure-requests",
        "access-control-request-method",
        "access-control-request-headers",
    };
    auto found = std::ranges::find_if(watched, [&](std::string_view known) { return same(known, name); });
    if (found != watched.end()) {
        headers[static_cast<std::size_t>(found - watched.begin())].push_back(value);
    }
}

bool Visit::says(Name name, std::string_view value) const {
    return headers[name].size() == 1 && headers[name][0] == value;
}

bool Visit::through_front() const {
    return local.kind == Address::Kind::unix_socket;
}

std::string Visit::own_origin() const {
    bool secure = https || (through_front() && says(forwarded_proto, "https"));
    std::string_view scheme = secure ? "https" : "http";
    std::string name = canonical_host(host);
    if (name.empty()) {
        return {};
    }
    std::uint16_t shown_port = port;
    // Through a forwarded port the client knows the server by another one than it has.
    const auto& sent = headers[host_header];
    if (sent.size() == 1) {
        if (Authority authority = read_authority(sent[0]); authority.host == name) {
            shown_port = authority.port.value_or(default_port(scheme));
        }
    }
    return origin_of(scheme, name, shown_port);
}

}  // namespace owt
