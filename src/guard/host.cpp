#include "guard/host.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

#include "call/text.hpp"

namespace owt {

namespace {

constexpr std::size_t max_host = 253;

// host is in lower case.
bool is_name(std::string_view host) {
    auto is_label = [](std::string_view label) {
        return !label.empty() && label.size() <= 63 && std::ranges::all_of(label, [](char c) {
            return letters_and_digits.find(c) != std::string_view::npos || c == '-' || c == '_';
        });
    };
    return !host.empty() && host.size() <= max_host && all_parts(host, '.', is_label) &&
           host.find_first_of(letters_and_digits) != std::string_view::npos && !ends_in_number(host);
}

std::optional<std::uint16_t> read_port(std::string_view text) {
    if (text.empty() || text.size() > 5 || text.find_first_not_of("0123456789") != std::string_view::npos) {
        return std::nullopt;
    }
    unsigned port = 0;
    for (char c : text) {
        port = port * 10 + static_cast<unsigned>(c - '0');
    }
    return port <= 0xFFFF ? std::optional(static_cast<std::uint16_t>(port)) : std::nullopt;
}

// A browser's other origins, as chrome-extension://: kept as they come.
bool is_other_origin(std::string_view scheme, std::string_view rest) {
    auto outside = [](std::string_view text, std::string_view more) {
        return std::ranges::any_of(text, [&](char c) {
            return letters_and_digits.find(c) == std::string_view::npos && more.find(c) == std::string_view::npos;
        });
    };
    return !scheme.empty() && scheme[0] >= 'a' && !outside(scheme, "+-.") && !rest.empty() && rest.size() <= max_host &&
           !outside(lower(rest), "-._:[]");
}

}  // namespace

Address unmapped(const Address& address) {
    constexpr std::array<std::uint8_t, 12> prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    if (address.kind != Address::Kind::v6 || !std::equal(prefix.begin(), prefix.end(), address.bytes.begin())) {
        return address;
    }
    Address out;
    out.kind = Address::Kind::v4;
    std::copy(address.bytes.begin() + prefix.size(), address.bytes.end(), out.bytes.begin());
    return out;
}

bool is_unspecified(const Address& address) {
    Address plain = unmapped(address);
    return plain.kind != Address::Kind::unix_socket && plain.bytes == Address{}.bytes;
}

std::string text_of(const Address& address) {
    if (address.kind == Address::Kind::unix_socket) {
        return "a unix socket";
    }
    std::array<char, INET6_ADDRSTRLEN> text{};
    int family = address.kind == Address::Kind::v4 ? AF_INET : AF_INET6;
    if (address.kind == Address::Kind::none ||
        inet_ntop(family, address.bytes.data(), text.data(), text.size()) == nullptr) {
        return "an unknown address";
    }
    return text.data();
}

Address literal(std::string_view host) {
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
        Address address = parse_address(host.substr(1, host.size() - 2));
        return address.kind == Address::Kind::v6 ? address : Address{};
    }
    Address address = parse_address(host);
    return address.kind == Address::Kind::v4 ? address : Address{};
}

bool ends_in_number(std::string_view host) {
    std::string_view label = host.substr(host.rfind('.') + 1);
    if (label.starts_with("0x")) {
        label.remove_prefix(2);
        return label.find_first_not_of("0123456789abcdef") == std::string_view::npos;
    }
    return label.find_first_not_of("0123456789") == std::string_view::npos;
}

std::optional<std::pair<std::string_view, std::optional<std::uint16_t>>> split_port(std::string_view text) {
    std::size_t begin = text.starts_with('[') ? std::min(text.find(']'), text.size()) : 0;
    std::size_t colon = text.find(':', begin);
    if (colon == std::string_view::npos) {
        return std::pair(text, std::optional<std::uint16_t>());
    }
    auto port = read_port(text.substr(colon + 1));
    if (!port) {
        return std::nullopt;
    }
    return std::pair(text.substr(0, colon), port);
}

Authority read_authority(std::string_view text) {
    auto parts = split_port(text);
    return parts ? Authority{canonical_host(parts->first), parts->second} : Authority{};
}

std::string origin_of(std::string_view scheme, std::string_view host, std::uint16_t port) {
    std::string out(scheme);
    out.append("://").append(host).append(":").append(std::to_string(port));
    return out;
}

std::uint16_t default_port(std::string_view scheme) {
    return scheme == "https" ? 443 : 80;
}

std::string_view origin_part(std::string_view url) {
    std::size_t authority = url.find("://");
    return authority == std::string_view::npos ? url : url.substr(0, url.find_first_of("/?#", authority + 3));
}

Address address_of(const sockaddr* address) {
    Address out;
    if (address == nullptr) {
        return out;
    }
    switch (address->sa_family) {
        case AF_UNIX:
            out.kind = Address::Kind::unix_socket;
            break;
        case AF_INET: {
            sockaddr_in v4;
            std::memcpy(&v4, address, sizeof v4);
            out.kind = Address::Kind::v4;
            std::memcpy(out.bytes.data(), &v4.sin_addr, sizeof v4.sin_addr);
            break;
        }
        case AF_INET6: {
            sockaddr_in6 v6;
            std::memcpy(&v6, address, sizeof v6);
            out.kind = Address::Kind::v6;
            std::memcpy(out.bytes.data(), &v6.sin6_addr, sizeof v6.sin6_addr);
            break;
        }
        default:
            break;
    }
    return out;
}

Address parse_address(std::string_view text) {
    Address out;
    std::array<char, INET6_ADDRSTRLEN> terminated{};
    if (text.size() >= terminated.size() || text.find('\0') != std::string_view::npos) {
        return out;
    }
    std::ranges::copy(text, terminated.begin());
    if (inet_pton(AF_INET, terminated.data(), out.bytes.data()) == 1) {
        out.kind = Address::Kind::v4;
    } else if (inet_pton(AF_INET6, terminated.data(), out.bytes.data()) == 1) {
        out.kind = Address::Kind::v6;
    } else {
        out = {};
    }
    return out;
}

bool is_local(const Address& address) {
    switch (Address plain = unmapped(address); plain.kind) {
        case Address::Kind::unix_socket:
            return true;
        case Address::Kind::v4:
            return plain.bytes[0] == 127;
        case Address::Kind::v6:
            return plain.bytes == std::array<std::uint8_t, 16>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
        default:
            return false;
    }
}

std::string canonical_host(std::string_view text) {
    if (text.size() > max_host + 1) {
        return {};
    }
    // The dot says that a name is whole; nginx drops it, too. Browsers write it behind IPv4 as well.
    if (text.ends_with('.') && !text.ends_with("].")) {
        text.remove_suffix(1);
    }
    switch (Address address = literal(text); address.kind) {
        case Address::Kind::v4:
            return std::string(text);  // it has one spelling
        case Address::Kind::v6:
            return "[" + text_of(address) + "]";
        default:
            break;
    }
    std::string name = lower(text);
    return is_name(name) ? name : std::string();
}

std::string canonical_origin(std::string_view text) {
    std::size_t end = text.find("://");
    if (end == std::string_view::npos) {
        return {};
    }
    std::string_view scheme = text.substr(0, end);
    std::string_view rest = text.substr(end + 3);
    if (scheme == "http" || scheme == "https") {
        Authority authority = read_authority(rest);
        return authority.host.empty()
                   ? std::string()
                   : origin_of(scheme, authority.host, authority.port.value_or(default_port(scheme)));
    }
    return is_other_origin(scheme, rest) ? std::string(text) : std::string();
}

}  // namespace owt
