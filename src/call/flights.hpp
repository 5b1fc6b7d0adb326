// Calls that ask for the same at the same time in one process: the first leads, the others wait for what it brings.
// If it brings nothing a waiting one leads next; if it turns out that the result can serve nobody else, all of them go
// their own way. Who waits learns of it later, from due(): whoever ends a flight is in the middle of something.
// Pure: knows neither nginx nor Python.

#pragma once

#include <cstring>
#include <functional>
#include <list>
#include <memory>
#include <unordered_map>

#include "call/kept.hpp"
#include "call/params.hpp"
#include "call/sha256.hpp"

namespace owt {

using KeptPtr = std::shared_ptr<const Kept>;

// Who may have to wait for another's result.
class Waiter {
  public:
    // It has the result, or (null) is to run: it leads now if others wait for it.
    virtual void resume(KeptPtr kept) noexcept = 0;

  protected:
    ~Waiter() = default;
};

class Flights {
  public:
    // A call's place in a flight. Whoever destroys it leaves.
    class Ticket {
      public:
        explicit Ticket(Waiter& owner) : owner_(&owner) {}
        Ticket(const Ticket&) = delete;
        Ticket& operator=(const Ticket&) = delete;
        ~Ticket() { leave(); }

        bool leads() const { return role_ == Role::leads; }
        // As the one who leads: it brings this; or what it brings serves nobody else.
        void land(const KeptPtr& kept);
        void disperse();
        // Leads or waits no longer. Where it led, the next one does.
        void leave();
        // Waits no longer; false if it does not wait.
        bool leave_waiting();

      private:
        friend class Flights;
        enum class Role { none, leads, waits, due };

        Waiter* owner_;
        Flights* flights_ = nullptr;
        Role role_ = Role::none;
        Digest key_{};
        KeptPtr kept_;
    };

    // What someone who waited learns.
    struct Due {
        Waiter* owner;
        KeptPtr kept;
    };

    // tell is called when somebody is due, if nobody was before.
    explicit Flights(std::function<void()> tell) : tell_(std::move(tell)) {}

    // True if it leads; else it waits.
    bool board(Ticket& ticket, const Digest& key);
    // The next who is due; its owner is null if there is none.
    Due due();

  private:
    struct Hash {
        std::size_t operator()(const Digest& key) const {
            std::size_t hash;
            std::memcpy(&hash, key.data(), sizeof(hash));
            return hash;
        }
    };
    struct Flight {
        std::list<Ticket*> waiting;
    };

    void wake(Ticket& ticket, Ticket::Role role, KeptPtr kept);
    void wake_all(const Digest& key, const KeptPtr& kept);
    void next(const Digest& key);

    std::function<void()> tell_;
    std::unordered_map<Digest, Flight, Hash> flights_;
    std::list<Ticket*> due_;
};

}  // namespace owt
