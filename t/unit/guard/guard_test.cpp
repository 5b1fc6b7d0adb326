// The guard: a table of requests for each rule, those of attackers first of all.

#include "guard/guard.hpp"
#include "call/locate.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <initializer_list>

#include "check.hpp"

using namespace owt;
using std::string;
using std::string_view;
using namespace std::literals;

namespace {

using Kind = Verdict::Kind;
using Headers = std::initializer_list<std::pair<string_view, string_view>>;

void expect_equal(string_view got, string_view want, string_view tried) {
    if (got != want) {
        expect(false, tried, string(got) + "; wanted " + string(want));
    }
}

const Address unix_socket = [] {
    Address address;
    address.kind = Address::Kind::unix_socket;
    return address;
}();

// curl on the machine itself.
Visit visit(Headers headers = {}) {
    Visit visit;
    visit.peer = parse_address("127.0.0.1");
    visit.local = parse_address("127.0.0.1");
    visit.method = "GET";
    visit.host = "localhost:9876";
    visit.names_code = true;
    visit.brings_python = true;
    for (auto [name, value] : headers) {
        visit.add(name, value);
    }
    return visit;
}

Visit from(string_view peer, Headers headers = {}) {
    Visit out = visit(headers);
    out.peer = peer == "unix:" ? unix_socket : parse_address(peer);
    return out;
}

Visit to(string_view host, Headers headers = {}) {
    Visit out = visit(headers);
    out.host = host;
    return out;
}

Visit with(string_view method, Visit visit) {
    visit.method = method;
    return visit;
}

string word(const Verdict& verdict) {
    switch (verdict.kind) {
        case Kind::pass:
            return "pass";
        case Kind::confirm:
            return "confirm";
        case Kind::preflight:
            return "preflight";
        default:
            return std::to_string(verdict.problem.status);
    }
}

// want is "pass", "confirm", "preflight" or a status. Returns what a refusal says.
string expect_verdict(const Visit& visit, const Rules& rules, string_view want, string_view tried) {
    Verdict verdict = guard(visit, rules);
    expect_equal(word(verdict), want, tried);
    const string& text = verdict.problem.detail;
    bool refused = verdict.kind == Kind::refuse;
    expect(refused == !text.empty(), tried, text);
    for (char c : text) {
        expect((c >= ' ' && c <= '~') || c == '\n', tried, "not printable");
    }
    expect(text.size() < 1200, tried, "too long");
    return text;
}

void expect_text(const Visit& visit, const Rules& rules, string_view want, string_view part) {
    string text = expect_verdict(visit, rules, want, part);
    expect(text.find(part) != string::npos, part, text);
}

Rules rules_with_host(string_view host) {
    Rules rules;
    Complaint complaint = rules.allow_host(host);
    expect(!complaint, host, complaint.value_or(""));
    return rules;
}

Rules rules_with_origin(string_view origin) {
    Rules rules;
    Complaint complaint = rules.allow_origin(origin);
    expect(!complaint, origin, complaint.value_or(""));
    return rules;
}

// ---- addresses ----

void address_test(void**) {
    for (string_view local : {"127.0.0.1", "127.255.255.254", "127.1.2.3", "::1", "0:0:0:0:0:0:0:1", "0000::0001",
                              "::ffff:127.0.0.1", "::FFFF:7f00:1", "0:0:0:0:0:ffff:127.9.9.9"}) {
        expect(is_local(parse_address(local)), local);
    }
    for (string_view remote : {"0.0.0.0", "::", "128.0.0.1", "126.255.255.255", "10.0.0.1", "::2", "::127.0.0.1",
                               "::ffff:128.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "fe80::1", "1::1"}) {
        expect(parse_address(remote).kind != Address::Kind::none, remote, "unread");
        expect(!is_local(parse_address(remote)), remote);
    }
    for (string_view none : {""sv,
                             "127.1"sv,
                             "127.0.0.01"sv,
                             "0177.0.0.1"sv,
                             "0x7f.0.0.1"sv,
                             "2130706433"sv,
                             "127.0.0.1."sv,
                             " 127.0.0.1"sv,
                             "127.0.0.1 "sv,
                             "127.0.0.1\0"sv,
                             "127.0.0.1\0x"sv,
                             "[::1]"sv,
                             "::1%lo"sv,
                             "fe80::1%eth0"sv,
                             "::1/128"sv,
                             "127.0.0.256"sv,
                             "127.0.0.1:80"sv,
                             "localhost"sv,
                             "1::2::3"sv,
                             "::ffff:127.0.0.1.evil.example.com.evil.example.com"sv}) {
        expect(parse_address(none).kind == Address::Kind::none, none);
        expect(!is_local(parse_address(none)), none);
    }
}

void sockaddr_test(void**) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(address_of(reinterpret_cast<sockaddr*>(&v4)) == parse_address("127.0.0.1"));
    v4.sin_addr.s_addr = htonl(INADDR_ANY);
    assert_false(is_local(address_of(reinterpret_cast<sockaddr*>(&v4))));
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    assert_false(is_local(address_of(reinterpret_cast<sockaddr*>(&v6))));
    v6.sin6_addr = in6addr_loopback;
    assert_true(address_of(reinterpret_cast<sockaddr*>(&v6)) == parse_address("::1"));
    sockaddr_un path{};
    path.sun_family = AF_UNIX;
    assert_true(is_local(address_of(reinterpret_cast<sockaddr*>(&path))));
    sockaddr other{};
    assert_false(is_local(address_of(&other)));
    assert_false(is_local(address_of(nullptr)));
}

// ---- 1. remote clients ----

void peer_test(void**) {
    for (string_view peer : {"127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"}) {
        expect_verdict(from(peer), {}, "pass", peer);
    }
    for (string_view peer :
         {"192.0.2.7", "10.0.0.1", "2001:db8::7", "::ffff:192.0.2.7", "0.0.0.0", "::", "no address"}) {
        expect_text(from(peer), {}, "403", "owt_allow remote;");
        Rules rules;
        rules.remote = true;
        expect_verdict(from(peer), rules, "pass", peer);
        rules = {};
        rules.has_auth = true;
        expect_verdict(from(peer), rules, "pass", peer);
        rules = {};
        rules.links = true;
        expect_verdict(from(peer), rules, "403", peer);
    }
    expect_text(from("192.0.2.7"), {}, "403", "comes from 192.0.2.7.");
    expect_text(from("192.0.2.7"), {}, "403", "\n    owt_auth USER:SHA256_OF_PASSWORD;\n");
}

void unix_test(void**) {
    expect_text(from("unix:"), {}, "403", "\n    include owt_params;\n");
    expect_verdict(from("unix:", {{"X-Real-IP", "127.0.0.1"}}), {}, "403", "X-Real-IP alone");
    expect_verdict(from("unix:", {{"Forwarded", "for=127.0.0.1"}}), {}, "403", "Forwarded alone");
    expect_verdict(from("unix:", {{"X-Forwarded-For", "127.0.0.1"}}), {}, "pass", "a front for a local client");
    expect_verdict(from("unix:", {{"X-Forwarded-For", "unix:, unix:"}}), {}, "pass", "fronts on sockets");
    expect_verdict(from("unix:", {{"X-Forwarded-For", "192.0.2.7"}}), {}, "403", "a front for a remote client");
    Rules rules;
    rules.remote = true;
    expect_verdict(from("unix:"), rules, "pass", "owt_allow remote");
    rules = {};
    rules.has_auth = true;
    expect_verdict(from("unix:"), rules, "pass", "owt_auth");
}

void proxy_protocol_test(void**) {
    auto source = [](string_view peer, string_view text) {
        Visit out = from(peer);
        out.proxy_source = text;
        return out;
    };
    expect_verdict(source("127.0.0.1", "127.0.0.1"), {}, "pass", "from here, for here");
    expect_verdict(source("127.0.0.1", "::1"), {}, "pass", "from here, for here");
    for (string_view text : {"192.0.2.7", "2001:db8::7", "", "unknown", "localhost", "127.0.0.1\n"}) {
        expect_text(source("127.0.0.1", text), {}, "403", "PROXY");
    }
    // Anybody may claim to be a front.
    expect_verdict(source("192.0.2.7", "127.0.0.1"), {}, "403", "from elsewhere, for here");
}

// Every header by which a front may name its client is read as X-Forwarded-For is.
constexpr auto client_headers = std::to_array<string_view>({"X-Forwarded-For",
                                                            "x-forwarded-for",
                                                            "X-REAL-IP",
                                                            "X-Client-IP",
                                                            "X-Cluster-Client-IP",
                                                            "CF-Connecting-IP",
                                                            "cf-connecting-ipv6",
                                                            "True-Client-IP",
                                                            "Fastly-Client-IP",
                                                            "Fly-Client-IP",
                                                            "DO-Connecting-IP",
                                                            "X-Original-Forwarded-For",
                                                            "X-Azure-ClientIP",
                                                            "X-Azure-SocketIP",
                                                            "X-Appengine-User-IP",
                                                            "X-ProxyUser-IP",
                                                            "X-Envoy-External-Address",
                                                            "Proxy-Client-IP",
                                                            "Client-IP",
                                                            "WL-Proxy-Client-IP",
                                                            "X-Remote-IP",
                                                            "X-Remote-Addr",
                                                            "X-Forwarded",
                                                            "Forwarded-For",
                                                            "X-Originating-IP",
                                                            "X-Vercel-Forwarded-For"});

void forwarded_for_test(void**) {
    for (string_view name : client_headers) {
        for (string_view value :
             {"127.0.0.1", "::1", "[::1]", "[::1]:4711", "127.0.0.1:4711", "127.0.0.1, ::1",
              "127.0.0.1,127.0.0.2 ,\t::1", "unix:", "unix:, 127.0.0.1", "::ffff:127.0.0.1", "[::ffff:127.0.0.1]:80"}) {
            expect_verdict(from("127.0.0.1", {{name, value}}), {}, "pass", value);
        }
        for (string_view value : {"",
                                  " ",
                                  ",",
                                  "127.0.0.1,",
                                  ",127.0.0.1",
                                  "127.0.0.1,,127.0.0.1",
                                  "192.0.2.7",
                                  "127.0.0.1, 192.0.2.7",
                                  "192.0.2.7, 127.0.0.1",
                                  "127.0.0.1 192.0.2.7",
                                  "192.0.2.7:80",
                                  "[2001:db8::7]:80",
                                  "unknown",
                                  "_hidden",
                                  "localhost",
                                  "127.0.0.1.evil.example",
                                  "127.1",
                                  "0x7f000001",
                                  "2130706433",
                                  "0",
                                  "127.0.0.1:",
                                  "127.0.0.1:x",
                                  "127.0.0.1:99999",
                                  "127.0.0.1:123456",
                                  "127.0.0.1:80:80",
                                  "[::1",
                                  "::1]",
                                  "[::1]x",
                                  "[::1]x:80",
                                  "[127.0.0.1]",
                                  "[127.0.0.1]:80",
                                  "::1%lo",
                                  "[::1%25lo]:80",
                                  "\"127.0.0.1\"",
                                  "\"127.0.0.1, 192.0.2.7",
                                  "for=127.0.0.1",
                                  "unix",
                                  "unix:/tmp/s",
                                  "UNIX:",
                                  "127.0.0.1;192.0.2.7",
                                  "\x80"}) {
            expect_verdict(from("127.0.0.1", {{name, value}}), {}, "403", value);
            expect_verdict(from("127.0.0.1", {{name, "127.0.0.1"}, {name, value}}), {}, "403", value);
            expect_verdict(from("127.0.0.1", {{name, value}, {name, "127.0.0.1"}}), {}, "403", value);
        }
    }
    expect_verdict(from("127.0.0.1", {{"X-Forwarded-For", "127.0.0.1\0"sv}}), {}, "403", "NUL");
    expect_verdict(from("127.0.0.1", {{"X-Forwarded-For", "127.0.0.1"}, {"X-Real-IP", "192.0.2.7"}}), {}, "403", "two");
    expect_text(from("127.0.0.1", {{"X-Forwarded-For", "1.2.3.4\x1B[2J"}}), {}, "403",
                "X-Forwarded-For is '1.2.3.4?[2J'");
    expect_text(from("127.0.0.1", {{"X-Forwarded-For", string(5000, 'x')}}), {}, "403", string(60, 'x') + "...'");
    Rules rules;
    rules.remote = true;
    expect_verdict(from("127.0.0.1", {{"X-Forwarded-For", "192.0.2.7"}}), rules, "pass", "owt_allow remote");
}

void front_sign_test(void**) {
    for (string_view name : {"Via",
                             "VIA",
                             "X-Forwarded-Host",
                             "X-Forwarded-Proto",
                             "x-forwarded-port",
                             "X-Forwarded-Server",
                             "X-Forwarded-Prefix",
                             "X-Forwarded-Context",
                             "X-Forwarded-Ssl",
                             "X-Forwarded-User",
                             "X-Scheme",
                             "CF-Ray",
                             "CF-Visitor",
                             "CDN-Loop",
                             "X-Varnish",
                             "X-Amz-Cf-Id",
                             "X-ARR-LOG-ID",
                             "X-Original-Host",
                             "Front-End-Https",
                             "Surrogate-Capability",
                             "Tailscale-User-Login",
                             "X-Envoy-Internal",
                             "X-ProxyContextPath"}) {
        for (string_view value : {"", "1.1 front", "127.0.0.1", "localhost"}) {
            expect_text(visit({{name, value}}), {}, "403", "\n    include owt_params;\n");
            expect_text(visit({{name, value}}), {}, "403", "\n    owt_allow remote;\n");
            expect_verdict(visit({{name, value}, {"X-Forwarded-For", "127.0.0.1"}}), {}, "pass", name);
            expect_verdict(visit({{"Forwarded", "for=127.0.0.1"}, {name, value}}), {}, "pass", name);
            expect_verdict(visit({{name, value}, {"X-Forwarded-For", "192.0.2.7"}}), {}, "403", name);
            Rules rules;
            rules.http10 = true;
            expect_verdict(visit({{name, value}}), rules, "403", name);
            rules.remote = true;
            expect_verdict(visit({{name, value}}), rules, "pass", name);
            rules = {};
            rules.has_auth = true;
            expect_verdict(visit({{name, value}}), rules, "pass", name);
        }
    }
    // A front over TCP that speaks PROXY has named its client so.
    Visit proxied = visit({{"Via", "1.1 front"}});
    proxied.proxy_source = "127.0.0.1";
    expect_verdict(proxied, {}, "pass", "PROXY");
    expect_text(visit({{"x-forwarded-\x1B[2J", ""}}), {}, "403", "'x-forwarded-?[2J'");
    // What programs send.
    for (string_view name : {"X-Request-ID", "traceparent", "X-Forwarded", "X-Forwarded-", "X-Requested-With", "Cookie",
                             "X-Api-Key", "Connection", "X-Correlation-ID"}) {
        if (name != "X-Forwarded") {
            expect_verdict(visit({{name, "1"}}), {}, "pass", name);
        }
    }
}

void http10_test(void**) {
    auto old = [](Headers headers = {}) {
        Visit out = visit(headers);
        out.http10 = true;
        return out;
    };
    expect_text(old(), {}, "403", "\n    owt_allow http10;\n");
    expect_text(old(), {}, "403", "\n    include owt_params;\n");
    expect_verdict(with("POST", old()), {}, "403", "POST");
    // A front that has not been told to name its client passes on what that says of itself.
    Rules http10;
    http10.http10 = true;
    for (Headers claimed : {Headers{{"X-Forwarded-For", "127.0.0.1"}}, Headers{{"X-Real-IP", "::1"}},
                            Headers{{"Forwarded", "for=127.0.0.1"}}}) {
        expect_text(old(claimed), {}, "403", "what its client claims");
        expect_verdict(old(claimed), http10, "pass", "owt_allow http10");
        Visit through_socket = old(claimed);
        through_socket.peer = through_socket.local = unix_socket;
        expect_verdict(through_socket, {}, "403", "a unix socket");
        expect_verdict(through_socket, http10, through_socket.has_forwarded_for() ? "pass" : "403", "a unix socket");
    }
    expect_verdict(old({{"X-Forwarded-For", "192.0.2.7"}}), {}, "403", "a front that names another");
    Visit proxied = old();
    proxied.proxy_source = "127.0.0.1";
    expect_verdict(proxied, {}, "pass", "PROXY");
    Rules rules;
    rules.http10 = true;
    expect_verdict(old(), rules, "pass", "owt_allow http10");
    expect_verdict(old({{"X-Forwarded-For", "192.0.2.7"}}), rules, "403", "owt_allow http10, a front");
    expect_verdict(old({{"Via", "1.0 front"}}), rules, "403", "owt_allow http10, a silent front");
    Visit elsewhere = old();
    elsewhere.peer = parse_address("192.0.2.7");
    expect_verdict(elsewhere, rules, "403", "owt_allow http10, from elsewhere");
    expect_verdict(from("unix:"), rules, "403", "owt_allow http10, a unix socket");
    rules = {};
    rules.remote = true;
    expect_verdict(old(), rules, "pass", "owt_allow remote");
    rules = {};
    rules.has_auth = true;
    expect_verdict(old(), rules, "pass", "owt_auth");
}

void forwarded_test(void**) {
    for (string_view value :
         {"for=127.0.0.1", "For=\"[::1]\"", "FOR=\"[::1]:4711\"", "for=\"127.0.0.1:80\"", "for=127.0.0.1:80",
          "for=127.0.0.1;proto=https;by=203.0.113.43", "by=_me;for=127.0.0.1", "for=127.0.0.1, for=\"[::1]\"",
          "for=127.0.0.1 ; host=\"a.example:80\"", "for=\"unix:\"", "for=[::1]"}) {
        expect_verdict(from("127.0.0.1", {{"Forwarded", value}}), {}, "pass", value);
    }
    for (string_view value : {"",
                              ",",
                              ";",
                              "127.0.0.1",
                              "for",
                              "for=",
                              "for=\"\"",
                              "for=192.0.2.7",
                              "for=unknown",
                              "for=_hidden",
                              "for=\"_gazonk\"",
                              "for=\"[2001:db8::7]:80\"",
                              "for=127.0.0.1,",
                              "for=127.0.0.1;",
                              "for=127.0.0.1;;proto=http",
                              "for=127.0.0.1, for=192.0.2.7",
                              "for=127.0.0.1;for=192.0.2.7",
                              "for=192.0.2.7;for=127.0.0.1",
                              "for=127.0.0.1;for=127.0.0.1",
                              "for=127.0.0.1, proto=https",
                              "proto=https",
                              "for=127.0.0.1;x=\"",
                              "for=127.0.0.1;x=\", for=192.0.2.7",
                              "for=127.0.0.1;x=\", for=\"192.0.2.7\"",
                              "for=127.0.0.1;x=\"\\\", for=\"[2001:db8::7]\"",
                              "for=127.0.0.1;x=\"a;b\"",
                              "for=\"127.0.0.1\\\"\"",
                              "for=\"\"127.0.0.1\"\"",
                              "for=\"127.0.0.1",
                              "for=127.0.0.1\"",
                              "for =127.0.0.1",
                              "for= 192.0.2.7",
                              "for=127.0.0.1;\"x=\"",
                              "for==127.0.0.1",
                              "x=y for=127.0.0.1"}) {
        expect_verdict(from("127.0.0.1", {{"Forwarded", value}}), {}, "403", value);
        expect_verdict(from("127.0.0.1", {{"Forwarded", "for=::1"}, {"Forwarded", value}}), {}, "403", value);
    }
}

// ---- 2. Host ----

void local_host_test(void**) {
    for (string_view host : {"localhost", "LOCALHOST", "LocalHost", "localhost.", "a.localhost", "a.b.LOCALHOST",
                             "a.localhost.", "127.0.0.1", "127.9.9.9", "127.0.0.1.", "[::1]", "[0:0:0:0:0:0:0:1]",
                             "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::ffff:127.0.0.1]", "[::FFFF:7F00:1]",
                             "[::0:1]", "my_app.localhost"}) {
        expect_verdict(to(host), {}, "pass", host);
    }
}

void foreign_host_test(void**) {
    for (string_view host :
         {""sv, "."sv, "evil.example"sv, "127.0.0.1.evil.example"sv, "localhost.evil.example"sv, "evil-localhost"sv,
          "evillocalhost"sv, "localhost6"sv, "localhost4"sv, "ip6-localhost"sv, "localhost.localdomain"sv,
          "xn--localhost-"sv, ".localhost"sv, "..localhost"sv, "a..localhost"sv, "localhost.."sv, "a b.localhost"sv,
          "evil.example/.localhost"sv, "evil.example#.localhost"sv, "evil@localhost"sv, "localhost:x"sv, "localhost "sv,
          " localhost"sv, "\tlocalhost"sv, "localhost\0"sv, "localhost\0.evil.example"sv, "evil.example\0.localhost"sv,
          "\xE2\x80\x8Blocalhost"sv, "\xC5\xBFocalhost"sv,
          // addresses
          "0.0.0.0"sv, "0.0.0.0."sv, "[::]"sv, "[0:0:0:0:0:0:0:0]"sv, "[::ffff:0.0.0.0]"sv, "[::0.0.0.0]"sv, "0"sv,
          "127.1"sv, "127.0.1"sv, "2130706433"sv, "017700000001"sv, "0x7f000001"sv, "0x7f.1"sv, "0177.0.0.1"sv,
          "127.0.0.01"sv, "127.0.0.0x1"sv, "127.0.0"sv, "127.0.0.1.1"sv, "127.0.0.256"sv, "::1"sv, "[::1"sv, "::1]"sv,
          "[]"sv, "["sv, "]"sv, "[[::1]]"sv, "[::1%lo]"sv, "[::1%25lo]"sv, "[fe80::1%25eth0]"sv, "[127.0.0.1]"sv,
          "[v1.::1]"sv, "[::1]x"sv, "x[::1]"sv, "192.168.1.5"sv, "[::ffff:192.168.1.5]"sv, "[2001:db8::7]"sv,
          "[::127.0.0.1]"sv, "255.255.255.255"sv}) {
        expect_verdict(to(host), {}, "421", host);
    }
    // What nginx takes for a port and cuts off.
    for (string_view host : {"localhost:80@evil.example"sv,
                             "localhost:abc"sv,
                             "localhost:"sv,
                             "localhost:80:80"sv,
                             "localhost:80 "sv,
                             "localhost: 80"sv,
                             "localhost:+80"sv,
                             "localhost:-1"sv,
                             "localhost:65536"sv,
                             "localhost:99999"sv,
                             "localhost:080000"sv,
                             "localhost:80.evil.example"sv,
                             "localhost:80/evil.example"sv,
                             "localhost:0x50"sv,
                             "localhost:80\0"sv,
                             "localhost.:80@evil.example"sv,
                             "localhost.:evil.example"sv,
                             "127.0.0.1:80@evil.example"sv,
                             "127.0.0.1:evil.example"sv,
                             "[::1].evil.example"sv,
                             "[::1]."sv,
                             "[::1].:80"sv,
                             "[::1]evil.example"sv,
                             "[::1]@evil.example"sv,
                             "[::1]:80@evil.example"sv,
                             "[::1]:"sv,
                             "[::1]:x"sv,
                             "[::1]:80.evil.example"sv,
                             "[::1]]"sv,
                             "[::1].localhost"sv,
                             ":80"sv,
                             ":"sv,
                             "@localhost"sv,
                             "x:y@localhost"sv,
                             "localhost,evil.example"sv,
                             "localhost;80"sv}) {
        expect_verdict(to(host), {}, "421", host);
        expect_verdict(to("localhost", {{"Host", host}}), {}, "421", host);
        expect_verdict(to(host, {{"Host", "localhost"}}), {}, "421", host);
    }
    expect_verdict(to(string(300, 'a')), {}, "421", "long");
    expect_verdict(to(string(64, 'a') + ".localhost"), {}, "421", "long label");
}

void port_test(void**) {
    for (string_view host : {"localhost:9876", "LOCALHOST:0", "localhost.:80", "a.localhost:65535", "127.0.0.1:80",
                             "127.9.9.9:00080", "[::1]:9876", "[0:0:0:0:0:0:0:1]:80"}) {
        expect_verdict(to(host), {}, "pass", host);
        expect_verdict(to(host, {{"Host", host}}), {}, "pass", host);
    }
    // The request line's and the Host header's.
    expect_verdict(to("localhost", {{"Host", "LOCALHOST.:80"}}), {}, "pass", "one host, spelt twice");
    for (string_view other : {"evil.example", "127.0.0.1", "", "localhost:x", "a.localhost", "localhost, localhost"}) {
        expect_text(to("localhost:80", {{"Host", other}}), {}, "421", "names two hosts");
        expect_verdict(to("localhost", {{"Host", "localhost"}, {"Host", other}}), {}, "421", other);
    }
}

void own_address_test(void**) {
    auto at = [](string_view local, string_view host) {
        Visit out = to(host);
        out.peer = parse_address(local);
        out.local = parse_address(local);
        return out;
    };
    Rules rules;
    rules.remote = true;
    expect_verdict(at("192.168.1.5", "192.168.1.5"), rules, "pass", "own");
    expect_verdict(at("::ffff:192.168.1.5", "192.168.1.5"), rules, "pass", "own, dual-stack socket");
    expect_verdict(at("192.168.1.5", "[::ffff:c0a8:105]"), rules, "pass", "own, mapped");
    expect_verdict(at("2001:db8::7", "[2001:DB8:0::7]"), rules, "pass", "own, spelt otherwise");
    expect_verdict(at("fe80::7", "[fe80::7]"), rules, "pass", "own, of the link");
    expect_verdict(at("192.168.1.5", "192.168.1.6"), rules, "421", "a neighbour's");
    expect_verdict(at("2001:db8::7", "[2001:db8::8]"), rules, "421", "a neighbour's");
    expect_verdict(at("0.0.0.0", "0.0.0.0"), rules, "421", "no machine's");
    expect_verdict(at("::", "[::]"), rules, "421", "no machine's");
    Visit through_socket = to("192.168.1.5", {{"X-Forwarded-For", "127.0.0.1"}});
    through_socket.peer = through_socket.local = unix_socket;
    expect_verdict(through_socket, rules, "pass", "a front's");
    through_socket.host = "0.0.0.0";
    expect_verdict(through_socket, rules, "421", "no machine's");
}

void front_name_test(void**) {
    Rules rules;
    rules.add_server_name("own.example", true);
    rules.add_server_name("front.example", false);
    expect_verdict(to("own.example"), rules, "pass", "own");
    expect_verdict(to("front.example"), rules, "421", "another server's");
    for (string_view host : {"own.example", "FRONT.example", "front.example."}) {
        Visit through_socket = to(host, {{"X-Forwarded-For", "127.0.0.1"}});
        through_socket.peer = through_socket.local = unix_socket;
        expect_verdict(through_socket, rules, "pass", host);
    }
    Visit through_socket = to("evil.example", {{"X-Forwarded-For", "127.0.0.1"}});
    through_socket.peer = through_socket.local = unix_socket;
    expect_verdict(through_socket, rules, "421", "nobody's");
}

void https_front_test(void**) {
    auto through = [](std::string_view scheme, std::string_view origin) {
        Visit out = with("POST", to("front.example", {{"X-Forwarded-For", "127.0.0.1"},
                                                      {"X-Forwarded-Proto", scheme},
                                                      {"Host", "front.example"},
                                                      {"Origin", origin}}));
        out.peer = out.local = unix_socket;
        return out;
    };
    Rules rules;
    rules.add_server_name("front.example", false);
    expect_verdict(through("https", "https://front.example"), rules, "pass", "its own page");
    expect_verdict(through("https", "http://front.example"), rules, "403", "a page that came unencrypted");
    expect_verdict(through("http", "https://front.example"), rules, "403", "another server's page");
    Visit direct =
        with("POST",
             to("localhost", {{"X-Forwarded-Proto", "https"}, {"Host", "localhost"}, {"Origin", "https://localhost"}}));
    expect_verdict(direct, {}, "403", "believed of a front on a unix socket alone");
    Visit remote = through("https", "https://front.example");
    remote.told[0].value = "192.0.2.7";
    expect_text(remote, rules, "403", "where the unix socket is listened on:\n\n    owt_allow remote;\n");
}

void known_host_test(void**) {
    Rules rules = rules_with_host("gpu.Example.com");
    for (string_view host : {"gpu.example.com", "GPU.example.com", "gpu.example.com."}) {
        expect_verdict(to(host), rules, "pass", host);
    }
    for (string_view host : {"example.com", "a.gpu.example.com", "gpu.example.com.evil.example", "gpu-example.com"}) {
        expect_verdict(to(host), rules, "421", host);
    }
    expect_verdict(to("192.0.2.7"), rules_with_host("192.0.2.7"), "pass", "address");
    expect_verdict(to("[2001:db8::7]"), rules_with_host("2001:DB8::7"), "pass", "address without brackets");
    expect_verdict(to("[2001:db8:0::7]"), rules_with_host("[2001:DB8::7]"), "pass", "address with brackets");
    rules = {};
    for (string_view name : {"_", "*.example.com", ".example.org", "www.*", "", "~^x$", "0.0.0.0", "Box.LAN", "!@#"}) {
        rules.add_server_name(name, true);
    }
    expect_verdict(to("box.lan"), rules, "pass", "server_name");
    for (string_view host : {"_", "*.example.com", "a.example.com", ".example.org", "a.example.org", "www.x", "www.*",
                             "", "x", "~^x$", "0.0.0.0", "!@#", "--", "__", "-"}) {
        expect_verdict(to(host), rules, "421", host);
    }
}

void host_text_test(void**) {
    expect_text(to("Box.LAN"), {}, "421", "\n    owt_allow host box.lan;\n");
    expect_text(to("192.168.1.5"), {}, "421", "\n    owt_allow host 192.168.1.5;\n");
    expect_text(to("[2001:DB8::0:7]"), {}, "421", "\n    owt_allow host [2001:db8::7];\n");
    expect_text(to(""), {}, "421", "names no host");
    expect_text(to("0.0.0.0"), {}, "421", "address of no machine");
    for (string_view host :
         {"a;b.example", "a\n.example", "a'b", "${x}", "a#b", "\x1B[2J", "127.1", "a b", "0.0.0.0"}) {
        string text = expect_verdict(to(host), {}, "421", host);
        expect(text.find("owt_allow host") == string::npos, host, text);
    }
    // What is told to be added lets the client in.
    for (string_view host : {"box.lan", "192.168.1.5", "[2001:db8::7]", "x", "my_box", "xn--bcher-kva.example"}) {
        string text = expect_verdict(to(host), {}, "421", host);
        size_t begin = text.find("owt_allow host ") + 15;
        expect_verdict(to(host), rules_with_host(text.substr(begin, text.find(';', begin) - begin)), "pass", host);
    }
}

// ---- 3. Sec-Fetch-Site ----

void same_origin_test(void**) {
    for (string_view method : {"GET", "HEAD", "POST"}) {
        expect_verdict(with(method, visit({{"Sec-Fetch-Site", "same-origin"}})), {}, "pass", method);
        expect_verdict(with(method, visit({{"Sec-Fetch-Site", "same-origin"}, {"Origin", "null"}})), {}, "pass",
                       method);
    }
    for (string_view value : {"", "Same-Origin", "same-origin ", "same-origin, same-origin", "same-origin;x", "foo",
                              "\"same-origin\"", "same_origin"}) {
        expect_verdict(visit({{"Sec-Fetch-Site", value}}), {}, "403", value);
    }
    expect_verdict(visit({{"Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Site", "cross-site"}}), {}, "403", "both");
    expect_verdict(visit({{"Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Site", "same-origin"}}), {}, "403", "twice");
    // The other headers do not help a foreign page.
    expect_verdict(visit({{"Sec-Fetch-Site", "cross-site"}, {"Origin", "http://localhost:9876"}}), {}, "403", "Origin");
    expect_verdict(visit({{"Sec-Fetch-Site", "same-site"}, {"Referer", "http://localhost:9876/"}}), {}, "403",
                   "Referer");
}

// What pages show or load without a script.
void element_test(void**) {
    auto own = [](string_view dest, string_view mode = "no-cors") {
        return visit({{"Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Mode", mode}, {"Sec-Fetch-Dest", dest}});
    };
    for (string_view dest : {"image",    "script", "style",        "font",          "audio",        "video",
                             "track",    "iframe", "frame",        "fencedframe",   "embed",        "object",
                             "manifest", "worker", "sharedworker", "serviceworker", "audioworklet", "paintworklet",
                             "report",   "xslt",   "json",         "websocket",     "webidentity",  "speculationrules",
                             "",         "Empty",  "documents",    "unheard-of"}) {
        for (string_view mode : {"no-cors", "cors", "navigate", "same-origin"}) {
            for (string_view method : {"GET", "HEAD", "POST"}) {
                expect_text(with(method, own(dest, mode)), {}, "403", "code_id");
            }
            Visit by_id = own(dest, mode);
            by_id.brings_python = false;
            expect_verdict(by_id, {}, "pass", dest);
            by_id.names_code = false;
            expect_verdict(by_id, {}, "pass", dest);
        }
        Rules rules;
        rules.links = true;
        rules.has_auth = true;
        rules.remote = true;
        expect_verdict(own(dest), rules, "403", dest);
    }
    expect_verdict(own("empty", "cors"), {}, "pass", "fetch()");
    expect_verdict(own("empty"), {}, "pass", "fetch(), no-cors");
    expect_verdict(own("document", "navigate"), {}, "pass", "a link");
    Visit twice = own("empty");
    twice.add("Sec-Fetch-Dest", "image");
    expect_verdict(twice, {}, "403", "two destinations");
    // The elements of an allowed origin's pages are elements too.
    Rules rules = rules_with_origin("https://app.example");
    Visit allowed = visit({{"Sec-Fetch-Site", "cross-site"},
                           {"Sec-Fetch-Mode", "cors"},
                           {"Sec-Fetch-Dest", "image"},
                           {"Origin", "https://app.example"}});
    expect_text(allowed, rules, "403", "code_id");
    assert_string_equal(guard(allowed, rules).allow_origin.c_str(), "https://app.example");
    allowed.brings_python = false;
    expect_verdict(allowed, rules, "pass", "by code_id");
}

// Over plain HTTP browsers leave out what for.
void plain_element_test(void**) {
    auto own = [](string_view header, string_view value) {
        return visit({{"User-Agent", "Mozilla/5.0"}, {"Referer", "http://localhost:9876/page"}, {header, value}});
    };
    struct Case {
        string_view name, value;
    };
    for (auto [name, value] : std::initializer_list<Case>{
             {"Accept", "image/jxl,image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"},
             {"Accept", "image/webp,*/*"},
             {"Accept", "Image/*"},
             {"Accept", "text/css,*/*;q=0.1"},
             {"Accept", "audio/webm,audio/ogg,*/*;q=0.5"},
             {"Accept", "video/webm,*/*;q=0.5"},
             {"Range", "bytes=0-"},
         }) {
        expect_text(own(name, value), {}, "403", "code_id");
        Visit by_origin = visit({{"User-Agent", "Mozilla/5.0"}, {"Origin", "http://localhost:9876"}, {name, value}});
        expect_text(by_origin, {}, "403", "code_id");
        Visit by_id = own(name, value);
        by_id.brings_python = false;
        expect_verdict(by_id, {}, "pass", value);
        expect_verdict(with("POST", own(name, value)), {}, "pass", "a script's");
        expect_verdict(visit({{name, value}}), {}, "pass", "a program's");
        expect_verdict(visit({{name, value}, {"Referer", "http://localhost:9876/"}}), {}, "pass", "a program's");
    }
    for (string_view value : {"*/*", "application/json", "text/event-stream", "text/html,image/webp,*/*;q=0.8", ""}) {
        expect_verdict(own("Accept", value), {}, "pass", value);
    }
}

void ping_test(void**) {
    for (Headers headers : {Headers{{"Ping-To", "http://evil.example/"}, {"Sec-Fetch-Site", "same-origin"}},
                            Headers{{"Ping-To", ""}, {"Origin", "http://localhost:9876"}}}) {
        expect_text(with("POST", visit(headers)), {}, "403", "Ping-To");
    }
}

void link_test(void**) {
    Rules links;
    links.links = true;
    for (string_view site : {"cross-site", "same-site", "none"}) {
        Headers headers = {{"Sec-Fetch-Site", site},
                           {"Sec-Fetch-Mode", "navigate"},
                           {"Sec-Fetch-Dest", "document"},
                           {"Sec-Fetch-User", "?1"},
                           {"Upgrade-Insecure-Requests", "1"},
                           {"User-Agent", "Mozilla/5.0"},
                           {"Referer", "https://wiki.example/"}};
        expect_verdict(visit(headers), {}, "confirm", site);
        expect_verdict(visit(headers), links, "pass", site);
        Visit plain = visit(headers);
        plain.names_code = false;
        expect_verdict(plain, {}, "pass", site);
        for (string_view method : {"HEAD", "POST", "PUT", "get"}) {
            expect_verdict(with(method, visit(headers)), {}, "403", method);
            expect_verdict(with(method, visit(headers)), links, "403", method);
        }
        Visit remote = visit(headers);
        remote.peer = parse_address("192.0.2.7");
        expect_verdict(remote, links, "403", "remote");
        Visit rebound = visit(headers);
        rebound.host = "evil.example";
        expect_verdict(rebound, links, "421", "rebound");
    }
    struct Case {
        string_view site, mode, dest;
    };
    for (auto [site, mode, dest] : std::initializer_list<Case>{
             {"cross-site", "navigate", "iframe"},
             {"cross-site", "navigate", "frame"},
             {"cross-site", "navigate", "embed"},
             {"cross-site", "navigate", "object"},
             {"cross-site", "navigate", ""},
             {"cross-site", "navigate", "Document"},
             {"cross-site", "nested-navigate", "document"},
             {"cross-site", "no-cors", "document"},
             {"cross-site", "no-cors", "image"},
             {"cross-site", "no-cors", "script"},
             {"cross-site", "no-cors", "audio"},
             {"cross-site", "cors", "empty"},
             {"cross-site", "websocket", "websocket"},
             {"same-site", "cors", "empty"},
             {"same-site", "no-cors", "image"},
             {"none", "cors", "empty"},
             {"none", "no-cors", "image"},
             {"foo", "navigate", "document"},
             {"", "navigate", "document"},
         }) {
        Visit visit_ = visit({{"Sec-Fetch-Site", site}, {"Sec-Fetch-Mode", mode}, {"Sec-Fetch-Dest", dest}});
        expect_verdict(visit_, {}, "403", dest);
        expect_verdict(visit_, links, "403", dest);
        visit_.names_code = false;
        expect_verdict(visit_, {}, "403", dest);
    }
    expect_verdict(visit({{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Mode", "navigate"}}), links, "403", "no dest");
    expect_verdict(visit({{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Dest", "document"}}), links, "403", "no mode");
    expect_verdict(visit({{"Sec-Fetch-Site", "cross-site"},
                          {"Sec-Fetch-Mode", "navigate"},
                          {"Sec-Fetch-Dest", "document"},
                          {"Sec-Fetch-Dest", "iframe"}}),
                   links, "403", "two dests");
    expect_verdict(visit({{"Sec-Fetch-Site", "none"},
                          {"Sec-Fetch-Site", "none"},
                          {"Sec-Fetch-Mode", "navigate"},
                          {"Sec-Fetch-Dest", "document"}}),
                   links, "403", "two sites");
}

void prefetch_test(void**) {
    for (auto [name, value] : Headers{{"Sec-Purpose", "prefetch"},
                                      {"Sec-Purpose", "prefetch;prerender"},
                                      {"Sec-Purpose", ""},
                                      {"Purpose", "prefetch"},
                                      {"Purpose", "Preview"},
                                      {"X-Moz", "prefetch"}}) {
        Rules rules;
        rules.links = true;
        expect_verdict(visit({{name, value}, {"Sec-Fetch-Site", "same-origin"}}), rules, "403", value);
        expect_verdict(visit({{name, value},
                              {"Sec-Fetch-Site", "none"},
                              {"Sec-Fetch-Mode", "navigate"},
                              {"Sec-Fetch-Dest", "document"}}),
                       rules, "403", value);
    }
    expect_verdict(visit({{"Purpose", "to amuse"}}), {}, "pass", "a program's own Purpose");
}

// ---- 4. without Sec-Fetch-Site ----

void origin_test(void**) {
    struct Case {
        string_view host, origin, want;
        bool https = false;
    };
    for (auto [host, origin, want, https] : std::initializer_list<Case>{
             {"localhost:9876", "http://localhost:9876", "pass"},
             {"LOCALHOST:9876", "http://localhost:9876", "pass"},
             {"localhost.:9876", "http://localhost.:9876", "pass"},
             {"localhost:8000", "http://localhost:8000", "pass"},  // through a forwarded port
             {"localhost", "http://localhost", "pass"},
             {"localhost", "http://localhost:80", "pass"},
             {"localhost:80", "http://localhost", "pass"},
             {"localhost", "https://localhost", "pass", true},
             {"localhost:443", "https://localhost", "pass", true},
             {"localhost:9876", "https://localhost:9876", "pass", true},
             {"localhost:9876", "https://localhost:9876", "403"},
             {"localhost:9876", "http://localhost:9876", "403", true},
             {"localhost", "https://localhost", "403"},
             {"localhost:9876", "http://localhost", "403"},
             {"localhost", "http://localhost:9876", "403"},
             {"localhost:9876", "http://localhost:8000", "403"},
             {"localhost:9876", "http://127.0.0.1:9876", "403"},
             {"localhost:9876", "http://a.localhost:9876", "403"},
             {"localhost:9876", "http://evil.example", "403"},
             {"localhost:9876", "http://localhost:9876.evil.example", "403"},
             {"localhost:9876", "http://localhost:9876@evil.example", "403"},
             {"localhost:9876", "http://evil.example@localhost:9876", "403"},
             {"localhost:9876", "http://localhost:9876/", "403"},
             {"localhost:9876", "http://localhost:9876 http://localhost:9876", "403"},
             {"localhost:9876", "http://localhost:9876, http://evil.example", "403"},
             {"localhost:9876", "//localhost:9876", "403"},
             {"localhost:9876", "localhost:9876", "403"},
             {"localhost:9876", "HTTP://localhost:9876", "403"},
             {"localhost:9876", "http://localhost:09876 ", "403"},
             {"localhost:9876", "http://localhost:75412", "403"},  // 9876 + 65536
             {"localhost:9876", "http://", "403"},
             {"localhost:9876", "http://:9876", "403"},
             {"localhost:9876", "null", "403"},
             {"localhost:9876", "NULL", "403"},
             {"localhost:9876", "", "403"},
             {"localhost:9876", "file://", "403"},
             {"localhost:9876", "*", "403"},
         }) {
        for (string_view method : {"GET", "HEAD", "POST"}) {
            Visit visit_ = with(method, to(host, {{"Host", host}, {"Origin", origin}}));
            visit_.https = https;
            expect_verdict(visit_, {}, want, origin);
            // Nothing else that is the server's own outweighs it.
            string own = visit_.own_origin();
            visit_.add("Referer", own);
            expect_verdict(visit_, {}, want, origin);
        }
        expect_verdict(to(host, {{"Host", host}, {"Origin", origin}, {"Origin", origin}}), {}, "403", origin);
    }
    struct Literal {
        string_view host, origin, want;
    };
    for (auto [host, origin, want] : std::initializer_list<Literal>{
             {"[::1]", "http://[::1]:9876", "pass"},
             {"[0:0:0:0:0:0:0:1]", "http://[::1]:9876", "pass"},
             {"[::1]", "http://[0:0::1]:9876", "pass"},
             {"[::1]", "http://[::1]", "403"},
             {"[::1]", "http://::1:9876", "403"},
             {"[::ffff:127.0.0.1]", "http://127.0.0.1:9876", "403"},
             {"127.0.0.1", "http://127.0.0.1:9876", "pass"},
             {"127.0.0.1", "http://127.1:9876", "403"},
             {"127.0.0.2", "http://127.0.0.1:9876", "403"},
         }) {
        string sent = string(host) + ":9876";
        expect_verdict(to(sent, {{"Host", sent}, {"Origin", origin}}), {}, want, origin);
    }
}

void referer_test(void**) {
    auto referred = [](string_view referer, Headers more = {}) {
        Visit out = visit({{"Host", "localhost:9876"}, {"Referer", referer}});
        for (auto [name, value] : more) {
            out.add(name, value);
        }
        return out;
    };
    for (string_view own : {"http://localhost:9876", "http://localhost:9876/", "http://localhost:9876/a?b#c",
                            "http://localhost:9876?b", "http://localhost:9876#c"}) {
        expect_verdict(referred(own), {}, "pass", own);
        expect_verdict(referred(own, {{"User-Agent", "Mozilla/5.0"}, {"Upgrade-Insecure-Requests", "1"}}), {}, "pass",
                       own);
    }
    for (string_view foreign :
         {"http://evil.example/", "http://localhost:8000/", "https://localhost:9876/", "http://localhost/", "",
          "about:blank", "/page", "localhost:9876", "http://localhost:9876.evil.example/",
          "http://evil@localhost:9876/", "http://evil.example/http://localhost:9876/",
          "http://evil.example\\@localhost:9876/", "null", "http://localhost:9876\\.evil.example/", "file:///x"}) {
        for (string_view method : {"GET", "HEAD", "POST"}) {
            expect_verdict(with(method, referred(foreign)), {}, "403", foreign);
            expect_verdict(with(method, referred(foreign, {{"User-Agent", "Mozilla/5.0"}})), {}, "403", foreign);
        }
    }
    expect_verdict(referred("http://localhost:9876/", {{"Referer", "http://evil.example/"}}), {}, "403", "both");
    expect_text(referred("http://wiki.example/page"), {}, "403", "\n    owt_allow origin http://wiki.example;\n");
    // An allowed origin's Referer is not the server's own: a browser's GET can be an image of that page.
    Rules rules = rules_with_origin("http://wiki.example");
    expect_verdict(referred("http://wiki.example/page"), rules, "pass", "allowed");
    expect_verdict(referred("http://wiki.example/page", {{"User-Agent", "Mozilla/5.0"}}), rules, "403", "an image");
}

void browser_test(void**) {
    Rules links;
    links.links = true;
    Headers navigation = {{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"}, {"Upgrade-Insecure-Requests", "1"}};
    expect_verdict(visit(navigation), {}, "confirm", "a link from a mail");
    expect_verdict(visit(navigation), links, "pass", "links");
    Visit plain = visit(navigation);
    plain.names_code = false;
    expect_verdict(plain, {}, "pass", "nothing to confirm");
    expect_verdict(with("HEAD", visit(navigation)), links, "403", "HEAD");
    expect_verdict(with("POST", visit(navigation)), links, "403", "a form of an old browser");
    Visit linked = visit(navigation);
    linked.add("Referer", "http://wiki.example/");
    expect_verdict(linked, {}, "confirm", "a link from a wiki");
    expect_verdict(linked, links, "pass", "a link from a wiki, links");
    expect_verdict(visit({{"Upgrade-Insecure-Requests", "1"}}), {}, "confirm", "another name");
    // Without Upgrade-Insecure-Requests it is an image, a script, a prefetch.
    for (string_view method : {"GET", "HEAD"}) {
        for (const Rules& rules : {Rules{}, links}) {
            expect_verdict(with(method, visit({{"User-Agent", "Mozilla/5.0"}})), rules, "403", method);
            expect_verdict(with(method, visit({{"User-Agent", "curl"}, {"User-Agent", "Mozilla/5.0"}})), rules, "403",
                           method);
            expect_verdict(with(method, visit({{"Sec-Fetch-Mode", "no-cors"}})), rules, "403", method);
            expect_verdict(with(method, visit({{"Sec-Fetch-Dest", "image"}})), rules, "403", method);
        }
    }
    expect_verdict(with("POST", visit({{"User-Agent", "Mozilla/5.0 WindowsPowerShell/5.1"}})), {}, "pass",
                   "PowerShell");
    expect_verdict(with("POST", visit({{"Sec-Fetch-Mode", "no-cors"}})), {}, "403", "half a browser");
    for (string_view method : {"GET", "POST"}) {
        expect_verdict(with(method, visit({{"Sec-Fetch-Mode", "cors"}, {"User-Agent", "node"}})), {}, "pass", "Node");
    }
    expect_verdict(visit({{"Sec-Fetch-Mode", "cors"}, {"User-Agent", "Mozilla/5.0"}}), {}, "403", "a browser's GET");
    expect_verdict(visit({{"Sec-Fetch-Mode", "cors"}, {"Sec-Fetch-Dest", "empty"}}), {}, "403", "two of three");
    expect_verdict(visit({{"Sec-Fetch-Mode", "cors"}, {"Referer", "http://evil.example/"}}), {}, "403", "Referer");
}

// owt_guard strict
void strict_test(void**) {
    Rules rules;
    rules.strict = true;
    for (string_view method : {"GET", "HEAD", "POST"}) {
        for (Headers headers : {Headers{}, Headers{{"User-Agent", "curl/7.88.1"}, {"Accept", "*/*"}},
                                Headers{{"Sec-Fetch-Mode", "cors"}, {"User-Agent", "node"}}}) {
            Visit redirected = with(method, visit(headers));
            expect_text(redirected, rules, "403", "X-Owt: 1");
            expect_verdict(redirected, {}, "pass", "not strict");
            redirected.brings_python = false;
            expect_verdict(redirected, rules, "403", "by code_id");
            Visit meant = redirected;
            meant.add("X-Owt", "1");
            expect_verdict(meant, rules, "pass", "meant");
            redirected.names_code = false;
            expect_verdict(redirected, rules, "pass", "code in the body");
        }
    }
    // Pages, where a browser tells of redirects, and links as ever.
    expect_verdict(visit({{"Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Dest", "empty"}}), rules, "pass", "own page");
    expect_verdict(visit({{"Upgrade-Insecure-Requests", "1"}}), rules, "confirm", "a link");
    expect_verdict(visit({{"Sec-Fetch-Site", "cross-site"}, {"X-Owt", "1"}}), rules, "403", "a foreign page");
    Visit remote = visit({{"X-Owt", "1"}});
    remote.peer = parse_address("192.0.2.7");
    expect_verdict(remote, rules, "403", "remote");
}

void program_test(void**) {
    for (string_view method : {"GET", "HEAD", "POST", "OPTIONS", "PUT"}) {
        for (string_view agent : {"curl/7.88.1", "python-requests/2.28", "Wget/1.21", ""}) {
            expect_verdict(with(method, visit({{"User-Agent", agent}, {"Accept", "*/*"}, {"Host", "localhost:9876"}})),
                           {}, "pass", agent);
        }
        expect_verdict(with(method, visit()), {}, "pass", method);
    }
}

// ---- 5. allowed origins ----

void allowed_origin_test(void**) {
    Rules rules = rules_with_origin("https://app.example");
    for (string_view site : {"cross-site", "same-site", "none", "foo"}) {
        for (string_view method : {"GET", "HEAD", "POST"}) {
            Visit visit_ = with(method, visit({{"Sec-Fetch-Site", site}, {"Origin", "https://app.example"}}));
            expect_verdict(visit_, rules, "pass", site);
            assert_string_equal(guard(visit_, rules).allow_origin.c_str(), "https://app.example");
        }
    }
    expect_verdict(visit({{"Origin", "https://app.example:443"}}), rules, "pass", "default port");
    expect_verdict(visit({{"Origin", "https://app.example"}, {"User-Agent", "Mozilla/5.0"}}), rules, "pass", "plain");
    for (string_view origin : {"http://app.example", "https://app.example:8443", "https://app.example.evil.example",
                               "https://evil-app.example", "https://a.app.example", "https://app.example/",
                               "https://app.example@evil.example", "null", "", "*",
                               "https://app.example https://app.example", "https://app.example, https://app.example"}) {
        for (const Headers& headers :
             {Headers{{"Origin", origin}}, Headers{{"Origin", origin}, {"Sec-Fetch-Site", "cross-site"}}}) {
            Verdict verdict = guard(visit(headers), rules);
            expect_equal(word(verdict), "403", origin);
            expect_equal(verdict.allow_origin, "", origin);
        }
    }
    Visit twice = visit({{"Origin", "https://app.example"}, {"Origin", "https://app.example"}});
    expect_verdict(twice, rules, "403", "twice");
    // It opens neither the machine nor its names.
    Visit remote = visit({{"Origin", "https://app.example"}});
    remote.peer = parse_address("192.0.2.7");
    expect_verdict(remote, rules, "403", "remote");
    Visit rebound = visit({{"Origin", "https://app.example"}});
    rebound.host = "evil.example";
    expect_verdict(rebound, rules, "421", "rebound");
    rules = rules_with_origin("chrome-extension://abcdefghijklmnop");
    expect_verdict(visit({{"Origin", "chrome-extension://abcdefghijklmnop"}, {"Sec-Fetch-Site", "none"}}), rules,
                   "pass", "extension");
    expect_verdict(visit({{"Origin", "moz-extension://abcdefghijklmnop"}, {"Sec-Fetch-Site", "none"}}), rules, "403",
                   "another extension");
}

void any_origin_test(void**) {
    Rules rules = rules_with_origin("*");
    assert_true(rules.check().has_value());
    expect_verdict(visit({{"Origin", "https://evil.example"}}), rules, "403", "without owt_auth");
    rules.has_auth = true;
    assert_false(rules.check().has_value());
    // Only what pages cannot send without a preflight shows that there was one.
    for (Headers asked :
         {Headers{{"Content-Type", "application/json"}}, Headers{{"Content-Type", "Application/JSON ; charset=utf-8"}},
          Headers{{"X-Owt", "1"}}, Headers{{"x-owt", ""}, {"Content-Type", "multipart/form-data; boundary=x"}}}) {
        for (Headers from : {Headers{{"Origin", "https://a.example"}}, Headers{{"Origin", "http://localhost:8000"}}}) {
            for (Headers fetch : {Headers{}, Headers{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Mode", "cors"}},
                                  Headers{{"Sec-Fetch-Site", "same-site"}, {"Sec-Fetch-Mode", "cors"}}}) {
                Visit unasked = with("POST", visit(from));
                for (auto [name, value] : fetch) {
                    unasked.add(name, value);
                }
                expect_text(unasked, rules, "403", "X-Owt: 1");
                for (string_view type : {"text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "",
                                         "text/plain; application/json", "text/plain, application/json", "json",
                                         "application/jsonx", "application/json, text/plain"}) {
                    Visit simple = unasked;
                    simple.add("Content-Type", type);
                    simple.add("X-Requested-With", "app");  // a WebView's, on whatever it asks for
                    expect_text(simple, rules, "403", "application/json");
                    // It may read why.
                    assert_string_equal(guard(simple, rules).allow_origin.c_str(), "*");
                }
                Visit scripted = unasked;
                for (auto [name, value] : asked) {
                    scripted.add(name, value);
                }
                expect_verdict(scripted, rules, "pass", "asked before");
                assert_string_equal(guard(scripted, rules).allow_origin.c_str(), "*");
                scripted.add("Content-Type", "text/plain");
                expect_verdict(scripted, rules, scripted[Visit::meant].empty() ? "403" : "pass", "two types");
            }
        }
    }
    // The server's own pages are not asked for it.
    expect_verdict(with("POST", visit({{"Origin", "http://localhost:9876"}})), rules, "pass", "own, plain");
    expect_verdict(with("POST", visit({{"Origin", "http://localhost:9876"}, {"Sec-Fetch-Site", "same-origin"}})), rules,
                   "pass", "own");
    expect_verdict(visit({{"Origin", "null"}, {"Sec-Fetch-Mode", "cors"}}), rules, "403", "null");
    // The browser sends the password that it remembers along with these.
    for (string_view mode : {"navigate", "no-cors", ""}) {
        expect_verdict(with("POST", visit({{"Origin", "https://evil.example"},
                                           {"Sec-Fetch-Site", "cross-site"},
                                           {"Sec-Fetch-Mode", mode}})),
                       rules, "403", mode);
    }
    expect_verdict(with("POST", visit({{"Origin", "http://evil.example"}, {"Upgrade-Insecure-Requests", "1"}})), rules,
                   "403", "a form, plain");
    // One that is named is trusted with those, too.
    assert_false(rules.allow_origin("https://app.example").has_value());
    Visit form = with("POST", visit({{"Origin", "https://app.example"}, {"Sec-Fetch-Mode", "navigate"}}));
    expect_verdict(form, rules, "pass", "named");
    assert_string_equal(guard(form, rules).allow_origin.c_str(), "https://app.example");
}

// "name: value" lines.
string listed(const Verdict& verdict) {
    string out;
    for (auto [name, value] : guard_headers(verdict)) {
        out.append(name).append(": ").append(value).append("\n");
    }
    return out;
}

void cors_test(void**) {
    Rules rules = rules_with_origin("https://app.example");
    auto preflight = [](string_view origin, Headers more = {}) {
        Visit out = with("OPTIONS", visit({{"Origin", origin}, {"Sec-Fetch-Site", "cross-site"}}));
        out.add("Sec-Fetch-Mode", "cors");
        out.add("Access-Control-Request-Method", "POST");
        for (auto [name, value] : more) {
            out.add(name, value);
        }
        return out;
    };
    expect_verdict(preflight("https://app.example"), rules, "preflight", "allowed");
    expect_text(preflight("https://evil.example"), rules, "405", "owt_allow origin https://evil.example;");
    expect_verdict(preflight("null"), rules, "405", "null");
    expect_verdict(preflight("https://app.example"), {}, "405", "none allowed");
    expect_verdict(preflight("https://app.example", {{"Access-Control-Request-Method", "GET"}}), rules, "pass",
                   "two methods: the handler's 405");
    Visit remote = preflight("https://app.example");
    remote.peer = parse_address("192.0.2.7");
    expect_verdict(remote, rules, "403", "remote");
    Visit rebound = preflight("https://app.example");
    rebound.host = "evil.example";
    expect_verdict(rebound, rules, "421", "rebound");
    expect_verdict(with("OPTIONS", visit({{"Origin", "https://app.example"}})), rules, "pass", "no preflight");

    Verdict verdict = guard(
        preflight("https://app.example", {{"Access-Control-Request-Headers", "authorization,content-type, X-Mine"}}),
        rules);
    assert_string_equal(listed(verdict).c_str(),
                        "X-Content-Type-Options: nosniff\nReferrer-Policy: same-origin\nCache-Control: no-store\n"
                        "Access-Control-Allow-Origin: https://app.example\nVary: Origin\n"
                        "Access-Control-Allow-Methods: GET, HEAD, POST\nAccess-Control-Max-Age: 600\n"
                        "Access-Control-Allow-Headers: authorization,content-type, X-Mine\n");
    for (string_view asked : {"", ",", "a b", "a\r\nSet-Cookie: x", "a:b", "\xFF", "*"}) {
        Verdict plain = guard(preflight("https://app.example", {{"Access-Control-Request-Headers", asked}}), rules);
        assert_true(plain.kind == Kind::preflight);
        expect_equal(plain.allow_headers, "", asked);
    }
    string many(2000, 'a');
    assert_true(guard(preflight("https://app.example", {{"Access-Control-Request-Headers", many}}), rules)
                    .allow_headers.empty());
    assert_string_equal(listed(guard(visit({{"Origin", "https://app.example"}}), rules)).c_str(),
                        "X-Content-Type-Options: nosniff\nReferrer-Policy: same-origin\nCache-Control: no-store\n"
                        "Access-Control-Allow-Origin: https://app.example\nVary: Origin\n");
    assert_string_equal(listed(guard(visit(), rules)).c_str(),
                        "X-Content-Type-Options: nosniff\nReferrer-Policy: same-origin\nCache-Control: no-store\n"
                        "Cross-Origin-Resource-Policy: same-origin\nVary: Origin\n");
    assert_string_equal(listed(guard(visit(), {})).c_str(),
                        "X-Content-Type-Options: nosniff\nReferrer-Policy: same-origin\nCache-Control: no-store\n"
                        "Cross-Origin-Resource-Policy: same-origin\n");
    rules = rules_with_origin("*");
    rules.has_auth = true;
    assert_string_equal(guard(preflight("https://any.example"), rules).allow_origin.c_str(), "*");
}

void page_text_test(void**) {
    Visit foreign = visit({{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://App.example:8443"}});
    expect_text(foreign, {}, "403", "\n    owt_allow origin https://App.example:8443;\n");
    expect_verdict(foreign, rules_with_origin("https://App.example:8443"), "pass", "as told");
    expect_text(visit({{"Sec-Fetch-Site", "cross-site"}, {"Origin", "null"}}), {}, "403", "Origin: null");
    expect_text(visit({{"Origin", "http://a;b\n\x1B"}}), {}, "403", "'http://a;b?\?'");
    expect_text(visit({{"Origin", "http://a"}, {"Origin", "http://b"}}), {}, "403", "there are several");
    expect_text(visit({{"Sec-Fetch-Site", "same-site"}}), {}, "403", "fetch() in mode cors");
}

// ---- configuration ----

void spelling_test(void**) {
    struct Case {
        string_view text, want;
    };
    for (auto [text, want] : std::initializer_list<Case>{
             {"A.Example.", "a.example"},
             {"192.0.2.7", "192.0.2.7"},
             {"[2001:DB8:0:0::7]", "[2001:db8::7]"},
             {"[::ffff:7f00:1]", "[::ffff:127.0.0.1]"},
             {"a:80", ""},
             {"", ""},
             {".", ""},
             {"a..b", ""},
             {"1.2.3", ""},
             {"a.0x1", ""},
             {"1a.2b", "1a.2b"},
             {"a.0x1g", "a.0x1g"},
         }) {
        expect_equal(canonical_host(text), want, text);
        expect_equal(canonical_host(canonical_host(text)), want, text);
    }
    for (auto [text, want] : std::initializer_list<Case>{
             {"http://A.example", "http://a.example:80"},
             {"https://a.example", "https://a.example:443"},
             {"https://a.example.:8443", "https://a.example:8443"},
             {"http://[0::1]", "http://[::1]:80"},
             {"moz-extension://0A-b", "moz-extension://0A-b"},
             {"http://a:", ""},
             {"http://a/", ""},
             {"http://", ""},
             {"://a", ""},
             {"ftp//a", ""},
             {"1x://a", ""},
             {"x://a b", ""},
             {"null", ""},
             {"", ""},
         }) {
        expect_equal(canonical_origin(text), want, text);
    }
}

void configuration_test(void**) {
    struct Case {
        string_view text, part;
    };
    for (auto [text, part] : std::initializer_list<Case>{
             {"", "is no host"},
             {"_", "is no host"},
             {"*", "many hosts"},
             {"*.example.com", "many hosts"},
             {".example.com", "many hosts"},
             {"~^a$", "many hosts"},
             {"http://a.example", "host alone"},
             {"a.example/", "host alone"},
             {"a.example:80", "has a port"},
             {"[::1]:80", "has a port"},
             {"0.0.0.0", "address of no machine"},
             {"::", "address of no machine"},
             {"[::ffff:0:0]", "address of no machine"},
             {"127.1", "four decimal numbers"},
             {"0x7f000001", "four decimal numbers"},
             {"b\xC3\xBC"
              "cher.example",
              "xn--"},
             {"$host", "is no host"},
             {"fe80::1%eth0", "is no host"},
         }) {
        Rules rules;
        Complaint complaint = rules.allow_host(text);
        expect(complaint.has_value(), text, "accepted");
        expect(complaint->find(part) != string::npos, text, *complaint);
        expect(rules.hosts.empty(), text, "kept");
    }
    for (auto [text, part] : std::initializer_list<Case>{
             {"", "no scheme"},
             {"null", "sandboxed"},
             {"a.example", "no scheme"},
             {"https://*.example", "many origins"},
             {"https://a.example/", "the origin alone, https://a.example"},
             {"https://a.example/x?y", "the origin alone, https://a.example"},
             {"https://", "is no origin"},
             {"https://a.example:x", "is no origin"},
             {"https://a@b.example", "is no origin"},
             {"HTTPS://a.example", "is no origin"},
         }) {
        Rules rules;
        Complaint complaint = rules.allow_origin(text);
        expect(complaint.has_value(), text, "accepted");
        expect(complaint->find(part) != string::npos, text, *complaint);
        expect(rules.origins.empty() && !rules.any_origin, text, "kept");
    }
}

// Where the configuration says what runs: anybody may call, but no page of another site.
void published_test(void**) {
    Rules rules;
    rules.published = true;
    expect_verdict(visit(), rules, "pass", "curl");
    expect_verdict(from("203.0.113.5"), rules, "pass", "elsewhere");
    expect_verdict(from("127.0.0.1", {{"X-Forwarded-For", "203.0.113.5"}}), rules, "pass", "a front");
    expect_text(to("evil.example"), rules, "421", "owt_allow host evil.example;");
    Visit public_address = to("evil.example");
    public_address.local = parse_address("192.0.2.7");
    expect_verdict(public_address, rules, "pass", "any name of a public address");
    public_address.local = {};
    expect_verdict(public_address, rules, "421", "an address that is not known");

    const Headers foreign = {{"Sec-Fetch-Site", "cross-site"},
                             {"Sec-Fetch-Mode", "cors"},
                             {"Sec-Fetch-Dest", "empty"},
                             {"Origin", "https://app.example"}};
    expect_verdict(visit(foreign), rules, "403", "a page");
    expect_verdict(visit({{"Origin", "https://app.example"}}), rules, "403", "a page over plain HTTP");
    const Headers link = {
        {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Mode", "navigate"}, {"Sec-Fetch-Dest", "document"}};
    Visit followed = visit(link);
    followed.brings_python = false;
    expect_verdict(followed, rules, "confirm", "a link with arguments");
    followed.names_code = false;
    expect_verdict(followed, rules, "pass", "a link without");
    rules.links = true;
    followed.names_code = true;
    expect_verdict(followed, rules, "pass", "owt_allow links");

    assert_false(rules.allow_origin("*").has_value());
    assert_false(rules.check().has_value());
    expect_verdict(visit(foreign), rules, "403", "a page that was not asked about");
    Visit asked = with("POST", visit(foreign));
    asked.add("Content-Type", "application/json");
    expect_verdict(asked, rules, "pass", "a page that sends JSON");
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(published_test),     cmocka_unit_test(address_test),
        cmocka_unit_test(sockaddr_test),      cmocka_unit_test(peer_test),
        cmocka_unit_test(unix_test),          cmocka_unit_test(proxy_protocol_test),
        cmocka_unit_test(forwarded_for_test), cmocka_unit_test(forwarded_test),
        cmocka_unit_test(local_host_test),    cmocka_unit_test(front_sign_test),
        cmocka_unit_test(http10_test),        cmocka_unit_test(element_test),
        cmocka_unit_test(plain_element_test), cmocka_unit_test(ping_test),
        cmocka_unit_test(strict_test),        cmocka_unit_test(foreign_host_test),
        cmocka_unit_test(port_test),          cmocka_unit_test(own_address_test),
        cmocka_unit_test(known_host_test),    cmocka_unit_test(host_text_test),
        cmocka_unit_test(front_name_test),    cmocka_unit_test(https_front_test),
        cmocka_unit_test(same_origin_test),   cmocka_unit_test(link_test),
        cmocka_unit_test(prefetch_test),      cmocka_unit_test(origin_test),
        cmocka_unit_test(referer_test),       cmocka_unit_test(browser_test),
        cmocka_unit_test(program_test),       cmocka_unit_test(allowed_origin_test),
        cmocka_unit_test(any_origin_test),    cmocka_unit_test(cors_test),
        cmocka_unit_test(page_text_test),     cmocka_unit_test(spelling_test),
        cmocka_unit_test(configuration_test),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
