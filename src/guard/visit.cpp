#include "guard/visit.hpp"

#include <algorithm>

#include "call/text.hpp"

namespace owt {

namespace {

// A header that matters here.
struct Header {
    enum class Means : std::uint8_t {
        listed,     // as `name`
        told,       // a front says by it for whom it asks, as a list of addresses,
        forwarded,  // or as RFC 7239 has it
        sign,       // it says by it that it is one
    };

    std::string_view shown;
    Means means = Means::listed;
    Visit::Name name = Visit::names;
};

constexpr std::size_t size_of(const Header& header) {
    return header.shown.size();
}

constexpr std::string_view forwarded_for = "X-Forwarded-For";

constexpr auto told = Header::Means::told;
constexpr auto sign = Header::Means::sign;

// Among them what proxies, balancers, tunnels and content networks add, by their documentation. The shortest first.
constexpr std::array watched = [] {
    std::array headers = std::to_array<Header>({
        {.shown = "Host", .name = Visit::host_header},
        {.shown = "Sec-Fetch-Site", .name = Visit::fetch_site},
        {.shown = "Sec-Fetch-Mode", .name = Visit::fetch_mode},
        {.shown = "Sec-Fetch-Dest", .name = Visit::fetch_dest},
        {.shown = "Sec-Purpose", .name = Visit::sec_purpose},
        {.shown = "Purpose", .name = Visit::purpose},
        {.shown = "X-Moz", .name = Visit::moz},
        {.shown = "Ping-To", .name = Visit::ping_to},
        {.shown = "Origin", .name = Visit::origin},
        {.shown = "Referer", .name = Visit::referer},
        {.shown = "User-Agent", .name = Visit::user_agent},
        {.shown = "Accept", .name = Visit::accept},
        {.shown = "Range", .name = Visit::range},
        {.shown = "Content-Type", .name = Visit::content_type},
        {.shown = "Upgrade-Insecure-Requests", .name = Visit::upgrade_insecure},
        {.shown = "Access-Control-Request-Method", .name = Visit::preflight_method},
        {.shown = "Access-Control-Request-Headers", .name = Visit::preflight_headers},
        {.shown = "X-Owt", .name = Visit::meant},
        {.shown = "X-Forwarded-Proto", .means = sign, .name = Visit::forwarded_proto},
        {.shown = "Forwarded", .means = Header::Means::forwarded},
        {.shown = forwarded_for, .means = told},
        {.shown = "X-Real-IP", .means = told},
        {.shown = "X-Client-IP", .means = told},
        {.shown = "X-Cluster-Client-IP", .means = told},
        {.shown = "X-Original-Forwarded-For", .means = told},
        {.shown = "X-Forwarded", .means = told},
        {.shown = "Forwarded-For", .means = told},
        {.shown = "X-Originating-IP", .means = told},
        {.shown = "X-Remote-IP", .means = told},
        {.shown = "X-Remote-Addr", .means = told},
        {.shown = "X-ProxyUser-IP", .means = told},
        {.shown = "Client-IP", .means = told},
        {.shown = "True-Client-IP", .means = told},
        {.shown = "Proxy-Client-IP", .means = told},
        {.shown = "WL-Proxy-Client-IP", .means = told},
        {.shown = "CF-Connecting-IP", .means = told},
        {.shown = "CF-Connecting-IPv6", .means = told},
        {.shown = "DO-Connecting-IP", .means = told},
        {.shown = "Fastly-Client-IP", .means = told},
        {.shown = "Fly-Client-IP", .means = told},
        {.shown = "X-Azure-ClientIP", .means = told},
        {.shown = "X-Azure-SocketIP", .means = told},
        {.shown = "X-Appengine-User-IP", .means = told},
        {.shown = "X-Envoy-External-Address", .means = told},
        {.shown = "X-Vercel-Forwarded-For", .means = told},
        {.shown = "Via", .means = sign},
        {.shown = "CDN-Loop", .means = sign},
        {.shown = "CF-Ray", .means = sign},
        {.shown = "CF-Visitor", .means = sign},
        {.shown = "CF-IPCountry", .means = sign},
        {.shown = "Front-End-Https", .means = sign},
        {.shown = "Surrogate-Capability", .means = sign},
        {.shown = "Tailscale-User-Login", .means = sign},
        {.shown = "X-Amz-Cf-Id", .means = sign},
        {.shown = "X-ARR-LOG-ID", .means = sign},
        {.shown = "X-ARR-SSL", .means = sign},
        {.shown = "X-Original-Host", .means = sign},
        {.shown = "X-ProxyContextPath", .means = sign},
        {.shown = "X-Scheme", .means = sign},
        {.shown = "X-Url-Scheme", .means = sign},
        {.shown = "X-Varnish", .means = sign},
        {.shown = "X-Envoy-Internal", .means = sign},
        {.shown = "X-Envoy-Expected-Rq-Timeout-Ms", .means = sign},
    });
    std::ranges::sort(headers, {}, size_of);
    return headers;
}();

const Header* find(std::string_view name) {
    const auto* header = std::ranges::lower_bound(watched, name.size(), {}, size_of);
    while (header != watched.end() && size_of(*header) == name.size()) {
        if (same(header->shown, name)) {
            return header;
        }
        ++header;
    }
    return nullptr;
}

// X-Forwarded-Host, -Port, -Server, -Prefix and whatever else begins so.
bool is_further_sign(std::string_view name) {
    constexpr std::string_view prefix = "X-Forwarded-";
    return name.size() > prefix.size() && same(name.substr(0, prefix.size()), prefix);
}

}  // namespace

void Visit::add(std::string_view name, std::string_view value) {
    const Header* header = find(name);
    if (header == nullptr) {
        if (is_further_sign(name)) {
            front_sign = name;
        }
        return;
    }
    switch (header->means) {
        case Header::Means::told:
            told.push_back({header->shown, Way::addresses, value});
            break;
        case Header::Means::forwarded:
            told.push_back({header->shown, Way::forwarded, value});
            break;
        case Header::Means::sign:
            front_sign = header->shown;
            break;
        case Header::Means::listed:
            break;
    }
    if (header->name != names) {
        headers[header->name].push_back(value);
    }
}

bool Visit::says(Name name, std::string_view value) const {
    return headers[name].size() == 1 && headers[name][0] == value;
}

bool Visit::has_forwarded_for() const {
    return std::ranges::any_of(told, [](const Told& one) { return one.name == forwarded_for; });
}

bool Visit::through_front() const {
    return local.kind == Address::Kind::unix_socket;
}

std::string Visit::own_origin() const {
    bool secure = https || (through_front() && says(forwarded_proto, "https"));
    std::string_view scheme = secure ? "https" : "http";
    // Through a forwarded port the client knows the server by another port than it has: the one that it asked for.
    Authority asked = read_authority(host);
    return asked.host.empty() ? std::string()
                              : origin_of(scheme, asked.host, asked.port.value_or(default_port(scheme)));
}

}  // namespace owt
