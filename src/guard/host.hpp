// Addresses, hosts and origins as a request or a configuration names them, each in one spelling so that they can be
// compared. Pure: knows neither nginx nor Python.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

struct sockaddr;

namespace owt {

struct Address {
    enum class Kind : std::uint8_t { none, unix_socket, v4, v6 };

    Kind kind = Kind::none;
    std::array<std::uint8_t, 16> bytes{};  // in network order, the first 4 of v4, zero beyond

    bool operator==(const Address&) const = default;
};

// Kind::none if the family is another one, or there is no address.
Address address_of(const sockaddr* address);
// As inet_pton reads it: one spelling of IPv4, no brackets, no port, no zone. Else Kind::none.
Address parse_address(std::string_view text);
// 127/8, ::1, ::ffff:127/104 or a unix socket: what only this machine reaches. Also for an address that is listened on.
bool is_local(const Address& address);

// Hosts and origins are compared in one spelling each: lower case, no dot at the end, addresses as inet_ntop writes
// them; an origin always with its port. Empty if text is neither. A host has no port.
std::string canonical_host(std::string_view text);
std::string canonical_origin(std::string_view text);

// The IPv4 address that an IPv6 one stands for: a socket that takes both shows it so.
Address unmapped(const Address& address);
bool is_unspecified(const Address& address);
std::string text_of(const Address& address);
// A host that is an address: 127.0.0.1, [::1]. Else Kind::none.
Address literal(std::string_view host);

// host or host:port. The host is left as it came.
std::optional<std::pair<std::string_view, std::optional<std::uint16_t>>> split_port(std::string_view text);

struct Authority {
    std::string host;  // canonical, empty if it is none
    std::optional<std::uint16_t> port;
};

Authority read_authority(std::string_view text);

std::uint16_t default_port(std::string_view scheme);
std::string origin_of(std::string_view scheme, std::string_view host, std::uint16_t port);
// scheme://authority of a URL.
std::string_view origin_part(std::string_view url);
// Browsers take a name whose last label is a number for an IPv4 address, in octal, hex or with parts left out.
bool ends_in_number(std::string_view host);

// True if all parts of a list pass, and there are any.
template <typename Test>
bool all_parts(std::string_view text, char separator, Test test) {
    for (;;) {
        std::size_t end = std::min(text.find(separator), text.size());
        if (!test(text.substr(0, end))) {
            return false;
        }
        if (end == text.size()) {
            return true;
        }
        text.remove_prefix(end + 1);
    }
}

}  // namespace owt
