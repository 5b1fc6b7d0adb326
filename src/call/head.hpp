// An answer's head: status and header fields. Pure: knows neither nginx nor Python.

#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace owt {

struct Header {
    std::string name;
    std::string value;
};

// Copies share what is in them until one is added to: most answers have one of a few heads.
class Headers {
  public:
    Headers() = default;
    Headers(std::initializer_list<Header> all) : all_(std::make_shared<std::vector<Header>>(all)) {}
    explicit Headers(std::vector<Header> all) : all_(std::make_shared<std::vector<Header>>(std::move(all))) {}

    void push_back(Header header);

    const Header* begin() const { return all_ != nullptr ? all_->data() : nullptr; }
    const Header* end() const { return begin() + size(); }
    std::size_t size() const { return all_ != nullptr ? all_->size() : 0; }
    const Header& operator[](std::size_t i) const { return (*all_)[i]; }

  private:
    std::shared_ptr<const std::vector<Header>> all_;
};

struct Head {
    int status = 200;
    Headers headers;
};

// What is wrong with a head that no client may get to see; nullopt if nothing. Raw control characters would let an
// adaptor's header value end the head (response splitting).
std::optional<std::string> complain(const Head& head);

}  // namespace owt
