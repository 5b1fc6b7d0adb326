#include "nginx/zone.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "call/hooks.hpp"
#include "call/uptime.hpp"

namespace owt {

namespace {

// All blocks have one size, so that as much is forgotten as is needed.
constexpr std::size_t block_size = 1024;

}  // namespace

struct Zone::Block {
    Block* next;
    u_char bytes[];
};

// A result; its head and body begin behind it and go on in blocks.
struct Zone::Entry {
    ngx_rbtree_node_t node;
    ngx_queue_t use;
    Digest key;
    std::chrono::seconds kept_at;  // by uptime()
    std::chrono::seconds until;    // zero: for ever
    std::size_t head_size;
    std::size_t body_size;
    bool by_accept;
    Block* next;
    u_char bytes[];

    std::size_t size() const { return head_size + body_size; }
    bool is_limited() const { return until != std::chrono::seconds::zero(); }

    // The parts in which its bytes lie, from first to last.
    template <typename Visit>
    void each_part(Visit visit) {
        std::size_t left = size();
        std::size_t part = std::min(left, block_size - sizeof(Entry));
        visit(bytes, part);
        for (Block* block = next; block != nullptr; block = block->next) {
            left -= part;
            part = std::min(left, block_size - sizeof(Block));
            visit(block->bytes, part);
        }
    }

    void read(std::size_t from, std::size_t size, u_char* to) {
        each_part([&](const u_char* part, std::size_t length) {
            std::size_t skip = std::min(from, length);
            std::size_t n = std::min(length - skip, size);
            to = ngx_copy(to, part + skip, n);
            from -= skip;
            size -= n;
        });
    }
};

struct Zone::Root {
    std::atomic<std::uint32_t> dirty;
    ngx_rbtree_t index;
    ngx_rbtree_node_t sentinel;
    ngx_queue_t used;  // the latest first
    Block* unused;
};

namespace {

ngx_rbtree_key_t hash_of(const Digest& key) {
    ngx_rbtree_key_t hash;
    std::memcpy(&hash, key.data(), sizeof(hash));
    return hash;
}

}  // namespace

// The lock of the zone, which is whole while it is held.
class Zone::Lock {
  public:
    explicit Lock(Zone& zone) : mutex_(zone.pool_->mutex) {
        ngx_shmtx_lock(&mutex_);
        if (zone.root().dirty != 0) {
            zone.empty();
            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "owt: a process has ended while it changed the zone \"%s\": its results are forgotten",
                          zone.name_.c_str());
        }
    }
    ~Lock() { ngx_shmtx_unlock(&mutex_); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

  private:
    ngx_shmtx_t& mutex_;
};

// While it lasts the zone is not whole. Nobody but a process that comes after this one's end sees the flag, so that it
// is enough to keep the compiler from moving it.
class Zone::Change {
  public:
    explicit Change(Zone& zone) : dirty_(zone.root().dirty) {
        dirty_.store(1, std::memory_order_relaxed);
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    ~Change() {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        dirty_.store(0, std::memory_order_release);
    }
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;

  private:
    std::atomic<std::uint32_t>& dirty_;
};

ngx_int_t Zone::attach(ngx_slab_pool_t* pool, bool inherited) {
    pool_ = pool;
    return inherited || make_root() ? NGX_OK : NGX_ERROR;
}

// The first thing in the pool: always at the same address.
bool Zone::make_root() {
    pool_->log_nomem = 0;  // to be full is a zone's usual state
    auto* root = static_cast<Root*>(ngx_slab_alloc_locked(pool_, sizeof(Root)));
    if (root == nullptr) {
        return false;
    }
    pool_->data = root;
    ngx_rbtree_init(&root->index, &root->sentinel,
                    [](ngx_rbtree_node_t* node, ngx_rbtree_node_t* added, ngx_rbtree_node_t* sentinel) {
                        auto key = [](ngx_rbtree_node_t* of) -> const Digest& {
                            return (ngx_rbtree_data(of, Entry, node))->key;
                        };
                        for (;;) {
                            bool left = added->key != node->key ? added->key < node->key : key(added) < key(node);
                            ngx_rbtree_node_t*& next = left ? node->left : node->right;
                            if (next == sentinel) {
                                next = added;
                                break;
                            }
                            node = next;
                        }
                        added->parent = node;
                        added->left = sentinel;
                        added->right = sentinel;
                        ngx_rbt_red(added);
                    });
    ngx_queue_init(&root->used);
    root->unused = nullptr;
    root->dirty = 0;
    return true;
}

// The flag stays up until all is done: initializing the pool leaves the contents of its pages alone.
void Zone::empty() {
    ngx_slab_init(pool_);
    make_root();
}

Zone::Entry* Zone::look_up(const Digest& key) const {
    ngx_rbtree_key_t hash = hash_of(key);
    ngx_rbtree_node_t* node = root().index.root;
    while (node != &root().sentinel) {
        if (hash != node->key) {
            node = hash < node->key ? node->left : node->right;
            continue;
        }
        Entry* entry = ngx_rbtree_data(node, Entry, node);
        if (key == entry->key) {
            return entry;
        }
        node = key < entry->key ? node->left : node->right;
    }
    return nullptr;
}

std::optional<Zone::Result> Zone::find(const Digest& key, ngx_pool_t* memory,
                                       const std::function<bool(std::string_view)>& wants_body) {
    Lock lock(*this);
    Entry* entry = look_up(key);
    if (entry == nullptr) {
        return std::nullopt;
    }
    if (entry->is_limited() && entry->until <= uptime()) {
        Change change(*this);
        forget(*entry);
        return std::nullopt;
    }
    if (ngx_queue_head(&root().used) != &entry->use) {
        Change change(*this);
        ngx_queue_remove(&entry->use);
        ngx_queue_insert_head(&root().used, &entry->use);
    }
    Result result{entry->by_accept, entry->is_limited(), entry->kept_at, {}, entry->body_size, {}};
    auto copy = [&](std::size_t from, std::size_t size, std::string_view& text) {
        auto* bytes = static_cast<u_char*>(ngx_pnalloc(memory, size));
        if (bytes == nullptr) {
            return false;
        }
        entry->read(from, size, bytes);
        text = {reinterpret_cast<char*>(bytes), size};
        return true;
    };
    if (result.by_accept) {
        return result;
    }
    if (!copy(0, entry->head_size, result.head) ||
        (wants_body(result.head) && !copy(entry->head_size, entry->body_size, result.body.emplace()))) {
        return std::nullopt;
    }
    return result;
}

bool Zone::keep(const Digest& key, std::string_view head, std::string_view body,
                std::optional<std::chrono::seconds> lifetime, std::chrono::seconds begun) {
    Lock lock(*this);
    if (Entry* other = look_up(key); other != nullptr && other->kept_at > begun) {
        return false;
    }
    Change change(*this);
    Entry* entry = add(key, head, body);
    if (entry == nullptr) {
        return false;
    }
    entry->until = lifetime ? entry->kept_at + *lifetime : std::chrono::seconds::zero();
    return true;
}

bool Zone::keep_by_accept(const Digest& key) {
    Lock lock(*this);
    Entry* entry = look_up(key);
    if (entry != nullptr && entry->by_accept) {
        return true;
    }
    Change change(*this);
    entry = add(key, {}, {});
    if (entry == nullptr) {
        return false;
    }
    entry->by_accept = true;
    return true;
}

// In place of what the key has had.
Zone::Entry* Zone::add(const Digest& key, std::string_view head, std::string_view body) {
    if (Entry* old = look_up(key)) {
        forget(*old);
    }
    std::size_t left = head.size() + body.size();
    if (!fits(left)) {
        return nullptr;
    }
    auto* entry = static_cast<Entry*>(allocate());
    if (entry == nullptr) {
        return nullptr;
    }
    *entry = {.node = {},
              .use = {},
              .key = key,
              .kept_at = uptime(),
              .until = {},
              .head_size = head.size(),
              .body_size = body.size(),
              .by_accept = false,
              .next = nullptr};
    entry->node.key = hash_of(key);
    left -= std::min(left, block_size - sizeof(Entry));
    for (Block** next = &entry->next; left > 0; next = &(*next)->next) {
        auto* block = static_cast<Block*>(allocate());
        if (block == nullptr) {
            release(*entry);
            return nullptr;
        }
        block->next = nullptr;
        *next = block;
        left -= std::min(left, block_size - sizeof(Block));
    }
    hook("zone_change");
    entry->each_part([&](u_char* part, std::size_t size) {
        for (std::string_view* text : {&head, &body}) {
            std::size_t n = std::min(size, text->size());
            if (n == 0) {
                continue;
            }
            part = ngx_copy(part, text->data(), n);
            text->remove_prefix(n);
            size -= n;
        }
    });
    ngx_rbtree_insert(&root().index, &entry->node);
    ngx_queue_insert_head(&root().used, &entry->use);
    return entry;
}

void Zone::forget(Entry& entry) {
    ngx_rbtree_delete(&root().index, &entry.node);
    ngx_queue_remove(&entry.use);
    release(entry);
}

void Zone::release(Entry& entry) {
    Block* next = entry.next;
    give_back(&entry);
    while (next != nullptr) {
        give_back(std::exchange(next, next->next));
    }
}

void Zone::give_back(void* memory) {
    auto* block = static_cast<Block*>(memory);
    block->next = root().unused;
    root().unused = block;
}

// A block. Takes another page, or forgets the oldest until one is free; null if nothing is left to forget.
void* Zone::allocate() {
    while (root().unused == nullptr) {
        if (auto* page = static_cast<u_char*>(ngx_slab_alloc_locked(pool_, ngx_pagesize))) {
            for (std::size_t at = 0; at < ngx_pagesize; at += block_size) {
                give_back(page + at);
            }
        } else if (ngx_queue_empty(&root().used)) {
            return nullptr;
        } else {
            forget(*ngx_queue_data(ngx_queue_last(&root().used), Entry, use));
        }
    }
    return std::exchange(root().unused, root().unused->next);
}

// Whether there is room for so many bytes where nothing else is, but for the page with the root.
bool Zone::fits(std::size_t size) const {
    static_assert(sizeof(Entry) < block_size);
    std::size_t pages = static_cast<std::size_t>(pool_->end - pool_->start) / ngx_pagesize;
    std::size_t needed = 1 + size / (block_size - sizeof(Block)) + 1;
    return needed <= (pages - 1) * (ngx_pagesize / block_size);
}

}  // namespace owt
