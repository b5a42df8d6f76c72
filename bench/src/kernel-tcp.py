"""
Times of transfers over the kernel's TCP: a sender, a router and a receiver in network namespaces of their own. The router limits the rate
(tbf); between it and the receiver this program forwards packets of a TUN device, delays each, and drops some. Prints one JSON object.

kernel-tcp.py RATE_BITS_PER_S ROUND_TRIP_MS LOSS_RATIO PAUSE_MS COUNT SEED BYTES...
"""
import ctypes, fcntl, heapq, json, os, random, select, signal, socket, struct, subprocess, sys, threading, time

rate, rtt, loss, pause, count, seed = (float(one) for one in sys.argv[1:7])
sizes = [int(one) for one in sys.argv[7:]]
libc = ctypes.CDLL(None, use_errno=True)
tag = str(os.getpid())
names = {name: f"ls{name}{tag}" for name in ("send", "mid", "recv")}


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")


def inside(name):
    """Moves this thread to a namespace."""
    with open(f"/run/netns/{names[name]}") as there:
        if libc.setns(there.fileno(), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def tun(name, device):
    inside(name)
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, 0x400454CA, struct.pack("16sH", device.encode(), 0x1001))
    return handle


def relay(up, down):
    """Forwards packets both ways, each after half a round trip; drops some of those on the way there."""
    draw = random.Random(int(seed))
    waiting, order = [], 0
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        ready, _, _ = select.select([up, down], [], [], timeout)
        for one in ready:
            while True:
                try:
                    packet = os.read(one, 65536)
                except BlockingIOError:
                    break
                # Only segments with data are dropped.
                if one == up and len(packet) > 100 and draw.random() < loss:
                    continue
                order += 1
                heapq.heappush(waiting, (time.monotonic() + rtt / 2000, order, down if one == up else up, packet))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, to, packet = heapq.heappop(waiting)
            try:
                os.write(to, packet)
            except OSError:
                pass


def read_exactly(connection, size):
    left = size
    while left > 0:
        got = connection.recv(min(left, 1 << 20))
        if not got:
            raise RuntimeError("the connection ended")
        left -= len(got)


def receive(listener):
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        head = connection.recv(4, socket.MSG_WAITALL)
        if len(head) < 4:
            return
        read_exactly(connection, struct.unpack("!I", head)[0] - 4)
        connection.sendall(b"k")


def main():
    try:
        # A busy machine must not delay packets.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    except OSError:
        pass
    try:
        for name in names.values():
            run("ip", "netns", "add", name)
        for name in names.values():
            run("ip", "netns", "exec", name, "ip", "link", "set", "lo", "up")
        send, mid, recv = names["send"], names["mid"], names["recv"]
        run("ip", "link", "add", f"a{tag}", "netns", send, "type", "veth", "peer", "name", f"b{tag}", "netns", mid)
        up, down = tun("mid", "m0"), tun("recv", "r0")
        at = lambda name, *words: run("ip", "netns", "exec", name, *words)
        at(send, "ip", "addr", "add", "10.93.0.1/24", "dev", f"a{tag}")
        at(send, "ip", "link", "set", f"a{tag}", "up", "gso_max_segs", "1")
        at(mid, "ip", "addr", "add", "10.93.0.2/24", "dev", f"b{tag}")
        at(mid, "ip", "link", "set", f"b{tag}", "up")
        at(mid, "ip", "addr", "add", "10.94.0.1/24", "dev", "m0")
        at(mid, "ip", "link", "set", "m0", "up", "mtu", "1500")
        at(recv, "ip", "addr", "add", "10.94.0.2/24", "dev", "r0")
        at(recv, "ip", "link", "set", "r0", "up", "mtu", "1500")
        at(mid, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        at(send, "ip", "route", "add", "default", "via", "10.93.0.2")
        at(recv, "ip", "route", "add", "default", "via", "10.94.0.1")
        at(mid, "tc", "qdisc", "add", "dev", "m0", "root", "tbf", "rate", f"{int(rate)}bit", "burst", "3200", "limit", "4000000")
        threading.Thread(target=relay, args=(up, down), daemon=True).start()
        inside("recv")
        listener = socket.create_server(("10.94.0.2", 9), backlog=4)
        threading.Thread(target=receive, args=(listener,), daemon=True).start()
        inside("send")
        connection = socket.socket()
        connection.settimeout(60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        connection.connect(("10.94.0.2", 9))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        took = {size: [] for size in sizes}
        for _ in range(int(count)):
            for size in sizes:
                time.sleep(pause / 1000)
                body = struct.pack("!I", size) + bytes(size - 4)
                began = time.monotonic()
                connection.sendall(body)
                read_exactly(connection, 1)
                took[size].append(1000 * (time.monotonic() - began))
        print(json.dumps({"tookMs": took}))
    finally:
        for name in names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
main()
