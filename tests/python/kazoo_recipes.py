"""Runs every recipe of kazoo, reconnects and session losses against the ZooKeeper server at argv[1].

Each test stands for itself on a node of its own; the first that fails ends the program with its trace.
"""

import datetime
import logging
import socket
import sys
import threading
import time
import uuid

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    BadVersionError,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
)
from kazoo.recipe.cache import TreeCache, TreeEvent
from kazoo.recipe.lease import MultiNonBlockingLease, NonBlockingLease
from kazoo.recipe.partitioner import SetPartitioner
from kazoo.recipe.queue import LockingQueue
from kazoo.recipe.watchers import PatientChildrenWatch
from kazoo.security import OPEN_ACL_UNSAFE, make_acl, make_digest_acl

HOSTS = sys.argv[1]
LIMIT = 20
logging.basicConfig(level=logging.ERROR)


def client(**options):
    made = KazooClient(hosts=HOSTS, timeout=options.pop("timeout", 10), **options)
    made.start(timeout=LIMIT)
    return made


def eventually(what, condition):
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited in vain: " + what)
        time.sleep(0.01)


def together(*works):
    """Runs the works in threads and raises what the first of them raised."""
    raised = []

    def guarded(work):
        try:
            work()
        except BaseException as e:  # told to the caller
            raised.append(e)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive(), "a thread hangs"
    if raised:
        raise raised[0]


def test_basics(a, b, top):
    a.create(top, b"x")
    try:
        a.create(top)
        raise AssertionError("made twice")
    except NodeExistsError:
        pass
    a.create(top + "/c/d/e", b"", makepath=True)
    try:
        a.delete(top)
        raise AssertionError("deleted with children")
    except NotEmptyError:
        pass
    try:
        a.set(top, b"", version=7)
        raise AssertionError("set with a wrong version")
    except BadVersionError:
        pass
    path, stat = a.create(top + "/with-stat", b"12345", include_data=True)
    assert stat.dataLength == 5
    data, stat = b.get(top)
    assert data == b"x" and stat.numChildren == 2
    assert b.sync(top) == top
    a.delete(top, recursive=True)
    try:
        a.get(top)
        raise AssertionError("still there")
    except NoNodeError:
        pass


def test_lock(a, b, top):
    held = []
    first = a.Lock(top, "a")
    second = b.Lock(top, "b")
    assert first.acquire()
    assert not second.acquire(blocking=False)
    assert first.contenders() == ["a"]

    def wait():
        with second:
            held.append("b")

    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    eventually("the second contends", lambda: len(first.contenders()) == 2)
    assert not held
    first.release()
    waiter.join(LIMIT)
    assert held == ["b"]


def test_rwlock(a, b, top):
    r1, r2, w = a.ReadLock(top), b.ReadLock(top), b.WriteLock(top)
    assert r1.acquire() and r2.acquire()
    assert not w.acquire(blocking=False)
    r1.release()
    r2.release()
    assert w.acquire(timeout=LIMIT)
    assert not r1.acquire(blocking=False)
    w.release()


def test_semaphore(a, b, top):
    s1, s2, s3 = a.Semaphore(top, max_leases=2), b.Semaphore(top, max_leases=2), b.Semaphore(top, max_leases=2)
    assert s1.acquire() and s2.acquire()
    assert not s3.acquire(blocking=False)
    assert len(s1.lease_holders()) == 2
    s1.release()
    assert s3.acquire(timeout=LIMIT)
    s2.release()
    s3.release()


def test_election(a, b, top):
    led = []
    one, two = a.Election(top, "one"), b.Election(top, "two")

    def lead(name, election):
        def leader():
            led.append(name)

        return lambda: election.run(leader)

    together(lead("one", one), lead("two", two))
    assert sorted(led) == ["one", "two"]


def test_queue(a, b, top):
    q1, q2 = a.Queue(top), b.Queue(top)
    assert q1.get() is None
    q1.put(b"two", priority=200)
    q1.put(b"one", priority=50)
    q1.put(b"three", priority=200)
    assert len(q2) == 3
    assert [q2.get(), q1.get(), q2.get()] == [b"one", b"two", b"three"]


def test_locking_queue(a, b, top):
    q1, q2 = LockingQueue(a, top), LockingQueue(b, top)
    q1.put_all([b"one", b"two"])
    assert q1.get(LIMIT) == b"one"
    assert q2.get(LIMIT) == b"two"
    assert q1.consume() and q2.consume()
    assert q1.get(0.1) is None
    together(lambda: check(q2.get(LIMIT) == b"late"), lambda: q1.put(b"late"))
    q2.consume()


def check(condition):
    assert condition


def test_party(a, b, top):
    for kind in ("Party", "ShallowParty"):
        p1 = getattr(a, kind)(top + kind, "one")
        p2 = getattr(b, kind)(top + kind, "two")
        p1.join()
        p2.join()
        assert len(p1) == 2 and set(p1) == {"one", "two"}
        p2.leave()
        eventually("one is left", lambda: set(p1) == {"one"})
        p1.leave()


def test_barrier(a, b, top):
    barrier = a.Barrier(top)
    barrier.create()
    assert not b.Barrier(top).wait(0.1)
    together(lambda: check(b.Barrier(top).wait(LIMIT)), barrier.remove)


def test_double_barrier(a, b, top):
    passed = []

    def go(who, name):
        def run():
            barrier = who.DoubleBarrier(top, 2, name)
            barrier.enter()
            assert barrier.participating
            passed.append(name)
            barrier.leave()

        return run

    together(go(a, "one"), go(b, "two"))
    assert len(passed) == 2


def test_counter(a, b, top):
    one, two = a.Counter(top), b.Counter(top)

    def add(counter):
        def run():
            for _ in range(20):
                counter.__add__(1)

        return run

    together(add(one), add(two))
    assert one.value == two.value == 40
    with_float = a.Counter(top + "-float", default=0.5)
    with_float += 1.25
    assert with_float.value == 1.75


def test_watchers(a, b, top):
    seen, children = [], []
    a.ensure_path(top)

    @a.DataWatch(top + "/d")
    def changed(data, stat):
        seen.append(data)

    @a.ChildrenWatch(top)
    def listed(names):
        children.append(sorted(names))

    b.create(top + "/d", b"1")
    eventually("created", lambda: seen[-1:] == [b"1"])
    b.set(top + "/d", b"2")
    eventually("changed", lambda: seen[-1:] == [b"2"])
    b.create(top + "/e")
    eventually("listed", lambda: children[-1:] == [["d", "e"]])
    b.delete(top + "/d")
    eventually("deleted", lambda: seen[-1:] == [None])
    eventually("listed again", lambda: children[-1:] == [["e"]])

    result = PatientChildrenWatch(a, top, time_boundary=0.2).start()
    settled, _ = result.get(timeout=LIMIT)
    assert settled == ["e"]


def test_tree_cache(a, b, top):
    events = []
    b.ensure_path(top + "/x")
    cache = TreeCache(a, top)
    cache.listen(lambda event: events.append(event.event_type))
    cache.start()
    eventually("the cache is filled", lambda: TreeEvent.INITIALIZED in events)
    b.create(top + "/x/y", b"1")
    eventually("it hears of a node", lambda: cache.get_data(top + "/x/y") is not None)
    b.set(top + "/x/y", b"2")
    eventually("it hears of data", lambda: cache.get_data(top + "/x/y").data == b"2")
    b.delete(top + "/x/y")
    eventually("it hears of the end", lambda: cache.get_data(top + "/x/y") is None)
    cache.close()


def test_lease(a, b, top):
    hour = datetime.timedelta(hours=1)
    assert NonBlockingLease(a, top, hour, identifier="one")
    assert not NonBlockingLease(b, top, hour, identifier="two")
    assert NonBlockingLease(a, top, hour, identifier="one")
    many = top + "-many"
    assert MultiNonBlockingLease(a, 2, many, hour, identifier="one")
    assert MultiNonBlockingLease(b, 2, many, hour, identifier="two")
    assert not MultiNonBlockingLease(b, 2, many, hour, identifier="three")


def test_partitioner(a, b, top):
    one = SetPartitioner(a, top, (1, 2, 3, 4), identifier="one", time_boundary=0.2)
    two = SetPartitioner(b, top, (1, 2, 3, 4), identifier="two", time_boundary=0.2)

    def run(partitioner):
        end = time.monotonic() + LIMIT
        while [len(list(p)) if p.acquired else 0 for p in (one, two)] != [2, 2]:
            assert time.monotonic() < end, partitioner.state
            if partitioner.release:
                partitioner.release_set()
            elif partitioner.allocating:
                partitioner.wait_for_acquire(0.2)
            elif partitioner.acquired:
                time.sleep(0.01)

    together(lambda: run(one), lambda: run(two))
    assert sorted(list(one) + list(two)) == [1, 2, 3, 4]
    one.finish()
    two.finish()


def test_transactions(a, b, top):
    a.create(top)
    t = a.transaction()
    t.create(top + "/s-", b"", sequence=True)
    t.create(top + "/s-", b"", sequence=True, ephemeral=True)
    t.set_data(top, b"new")
    t.check(top, 1)
    results = t.commit()
    assert results[0].endswith("0000000000") and results[1].endswith("0000000001")
    assert results[2].version == 1 and results[3] is True
    t = a.transaction()
    t.create(top + "/never")
    t.delete(top + "/s-0000000000", version=9)
    t.set_data(top, b"never")
    results = t.commit()
    assert [type(r) for r in results] == [RolledBackError, BadVersionError] + [type(results[2])]
    assert b.exists(top + "/never") is None
    assert b.get(top)[0] == b"new"


def test_security(a, b, top):
    mine = client(auth_data=[("digest", "me:secret")])
    mine.create(top, b"x", acl=[make_digest_acl("me", "secret", all=True)])
    try:
        b.get(top)
        raise AssertionError("read without right")
    except NoAuthError:
        pass
    b.add_auth("digest", "me:secret")
    assert b.get(top)[0] == b"x"
    mine.set_acls(top, OPEN_ACL_UNSAFE + [make_acl("ip", "127.0.0.1", read=True)])
    assert a.get(top)[0] == b"x"
    assert len(a.get_acls(top)[0]) == 2
    mine.stop()
    mine.close()


def break_connection(of):
    """Cuts the socket under the client."""
    of._connection._socket.shutdown(socket.SHUT_RDWR)


def test_reconnect(a, b, top):
    mine = client()
    states, seen = [], []
    mine.add_listener(states.append)
    mine.create(top, b"", ephemeral=True)
    mine.ensure_path("/plain")

    @mine.DataWatch(top + "-later")
    def changed(data, stat):
        seen.append(data)

    session = mine.client_id
    break_connection(mine)
    b.create(top + "-later", b"while away")
    eventually("it notices", lambda: KazooState.SUSPENDED in states)
    eventually("it is back", lambda: states[-1:] == [KazooState.CONNECTED])
    assert mine.client_id == session
    eventually("it heard what happened meanwhile", lambda: seen[-1:] == [b"while away"])
    assert b.exists(top).ephemeralOwner == session[0]
    mine.stop()
    eventually("a clean end removes at once", lambda: b.exists(top) is None)
    mine.close()


def test_session_loss(a, b, top):
    mine = client(timeout=5)
    states = []
    mine.add_listener(states.append)
    mine.create(top, b"", ephemeral=True)
    session, password = mine.client_id
    # Whoever knows number and password may take the session over, and end it.
    thief = KazooClient(hosts=HOSTS, client_id=(session, password), timeout=5)
    thief.start(timeout=LIMIT)
    thief.stop()
    thief.close()
    eventually("the loss is noticed", lambda: KazooState.LOST in states)
    eventually("a new session begins", lambda: states[-1:] == [KazooState.CONNECTED])
    assert mine.client_id[0] != session
    assert mine.exists(top) is None
    mine.stop()
    mine.close()


def test_expiry(a, b, top):
    gone = threading.Event()
    mine = client(timeout=1)
    mine.create(top, b"", ephemeral=True)

    def watcher(event):
        if event.type == "DELETED":
            gone.set()

    assert b.exists(top, watch=watcher)
    # Silenced: no pings, no reconnect.
    mine._stopped.set()
    mine._connection.connection_stopped.set()
    break_connection(mine)
    assert gone.wait(LIMIT), "the session expires"


def test_many(a, b, top):
    a.create(top)
    made = [a.create_async("%s/n%d" % (top, i), b"x") for i in range(2000)]
    for result in made:
        result.get(timeout=LIMIT)
    assert len(b.get_children(top)) == 2000


def main():
    tests = [(name, run) for name, run in globals().items() if name.startswith("test_")]
    for name, run in tests:
        start = time.monotonic()
        a, b = client(), client()
        try:
            run(a, b, "/%s-%s" % (name, uuid.uuid4().hex[:6]))
        finally:
            for each in (a, b):
                each.stop()
                each.close()
        print("%s %.2f s" % (name, time.monotonic() - start), flush=True)


main()
