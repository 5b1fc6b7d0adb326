// Results in shared memory, for all workers and across reloads: an index (a red-black tree), the order of last use, and
// what is kept, in blocks of one size, so that memory does not fall to pieces. When it is full the oldest go.
//
// What is found is copied out and what is kept is copied in, both under the zone's lock: so nobody counts references,
// a slow client keeps nothing alive, and a process that is killed leaves nothing behind but, in mid-change, a flag:
// whoever takes the lock next empties the zone.

#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "call/key.hpp"
#include "nginx/ngx.hpp"

namespace owt {

class Zone {
  public:
    Zone(std::string_view name, std::size_t size) : name_(name), size_(size) {}

    const std::string& name() const { return name_; }
    std::size_t size() const { return size_; }

    // In the master, for each configuration; inherited: with what it held under the one before.
    ngx_int_t attach(ngx_slab_pool_t* pool, bool inherited);

    struct Result {
        bool by_accept = false;          // this is no result: there are several, kept by Accept
        bool limited = false;            // in its life
        std::chrono::seconds kept_at{};  // by uptime()
        std::string_view head;
        std::size_t body_size = 0;
        std::optional<std::string_view> body;
    };
    // Copies a result into memory; its body only where wants_body(head). nullopt if there is none.
    std::optional<Result> find(const Digest& key, ngx_pool_t* memory,
                               const std::function<bool(std::string_view)>& wants_body);

    // False if there is no room for that, or a result that was kept since it was begun.
    bool keep(const Digest& key, std::string_view head, std::string_view body,
              std::optional<std::chrono::seconds> lifetime, std::chrono::seconds begun);
    // Says that the results of this key are kept by Accept.
    bool keep_by_accept(const Digest& key);

  private:
    struct Root;
    struct Entry;
    struct Block;
    class Lock;
    class Change;

    Root& root() const { return *static_cast<Root*>(pool_->data); }
    bool make_root();
    void empty();
    Entry* look_up(const Digest& key) const;
    Entry* add(const Digest& key, std::string_view head, std::string_view body);
    void forget(Entry& entry);
    void release(Entry& entry);
    void* allocate();
    void give_back(void* memory);
    bool fits(std::size_t size) const;

    std::string name_;
    std::size_t size_;
    ngx_slab_pool_t* pool_ = nullptr;
};

}  // namespace owt
