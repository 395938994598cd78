"""The network of the lab, and which role each host has. `make lab` runs it, inside of namespaces of its own.

    client1 client2 resolver gslb ── router ─┬─1 berlin-leaf 2─ berlin-healthd
              192.0.2.0/24                   │           3 4 5─ berlin-web1 -web2 -web3
                                             │     198.51.100.0/24, with the VIP .100
                                             └─1 boston-leaf, and so on, 203.0.113.0/24

    operator, gslb, *-leaf, *-ctl, *-healthd ── a network for management, 10.99.0.0/24

Every host has a directory of its own at /run/sluice: certificate, configuration, the command of its role, its log.
"""
import ipaddress
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

from mininet.cli import CLI
from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.node import Switch

LAB = "/run/lab"
BMV2 = os.environ.get("SWITCH") == "bmv2"
ANSWERS = 120  # seconds, in which the whole lab must be up, on a machine that is busy

CLIENTS = ["client1", "client2"]  # the second one holds connections that are never closed


@dataclass
class DataCenter:
    name: str
    number: int  # its place in the network for management
    network: str  # of router, servers and healthd
    switches: list  # the first has all cables; a second one is cabled to the first
    controllers: list  # with a second one they share an etcd, and it stands by
    servers: list

    def host(self, name):
        return f"{self.name}-{name}"

    def address(self, last):
        return f"{self.network.removesuffix('.0/24')}.{last}"

    @property
    def vip(self):
        return self.address(100)


DATA_CENTERS = [
    DataCenter("berlin", 1, "198.51.100.0/24",
               switches=["leaf"],
               controllers=["ctl"],
               servers=["web1", "web2", "web3"]),
    DataCenter("boston", 2, "203.0.113.0/24",
               switches=["leaf"],
               controllers=["ctl"],
               servers=["web1", "web2", "web3"]),
]


class Bridge(Switch):
    """The kernel's switch, for the networks that Sluice does not balance."""

    def start(self, controllers):
        do(self, f"ip link add {self.name} up type bridge mcast_snooping 0")
        for intf in self.intfList():
            if intf.name != "lo":
                do(self, f"ip link set {intf} up master {self.name}")


class P4Switch(Switch):
    """A host whose role is to be a switch: `sluice switch` or bmv2. Its port N is its interface portN."""

    controlIntf = None

    def start(self, controllers):
        ports = {int(i.name.removeprefix("port")): i.name for i in self.intfList() if i.name.startswith("port")}
        for name in ports.values():
            # A port of a switch has no address, and makes no noise of its own.
            do(self, f"ip link set {name} promisc on up")
        if BMV2:
            cards = " ".join(f"-i {n}@{name}" for n, name in sorted(ports.items()))
            give_role(self, f"simple_switch_grpc --no-p4 --device-id 1 --log-console --log-level error {cards}"
                            " -- --grpc-server-addr 0.0.0.0:9559 --cpu-port 510")
        else:
            cards = " ".join(f"--port {n}={name}" for n, name in sorted(ports.items()))
            give_role(self, f"sluice switch --grpc unix:/run/sluice/switch.sock --grpc https://:9559 {cards}")


def mac(address):
    return "02:00:" + ":".join(f"{b:02x}" for b in ipaddress.ip_address(address).packed)


def write(node, file, text):
    with open(f"{LAB}/{node}/{file}", "w") as f:
        f.write(text)


def attempt(node, command):
    """Runs a command on a host and returns its exit code and what it printed."""
    env = ". /run/sluice/env; " if node.inNamespace else ""
    out, err, code = node.pexec("sh", "-c", env + command)
    return code, out + err


def do(node, command):
    """Runs a command on a host, without which there is no lab."""
    code, printed = attempt(node, command)
    if code:
        sys.exit(f"lab: {node.name}: {command}: exit code {code}\n{printed}")


def give_role(node, command):
    write(node, "command", command + "\n")
    do(node, "role start")


class Lab:
    def __init__(self):
        # Mininet's own preparation changes limits of the whole machine for good, and this lab needs none of them.
        Mininet.inited = True
        self.net = Mininet(controller=None)
        self.names = {}  # host -> address, for /etc/hosts
        self.ids = 0
        if any(len(dc.controllers) > 1 for dc in DATA_CENTERS) and not shutil.which("etcd"):
            sys.exit("lab: several controllers need etcd: apt-get install etcd-server")
        sluice("cert", "ca", f"{LAB}/ca")
        for file in "hosts", "resolv.conf":
            self.replace(file)

    def replace(self, file):
        """Puts a file of the lab in the place of one in /etc, for all hosts."""
        place, source = os.path.realpath(f"/etc/{file}"), f"{LAB}/{file}"
        if place.startswith("/run/"):  # which is the lab's own, and empty
            os.makedirs(os.path.dirname(place), exist_ok=True)
            open(place, "w").close()
        open(source, "w").close()
        subprocess.run(["mount", "--bind", source, place], check=True)

    def node(self, name, management=None, roles=(), cls=None):
        """Adds a host. With an address for management it gets a certificate, which has the roles."""
        os.makedirs(f"{LAB}/{name}")
        self.ids += 1
        how = {"ip": None, "inNamespace": True, "privateDirs": [("/run/sluice", f"{LAB}/%(name)s")]}
        n = self.net.addSwitch(name, cls=cls, dpid=str(self.ids), **how) if cls else self.net.addHost(name, **how)
        lines = [f"export PATH={os.environ['PATH']}", "cd /run/sluice"]
        if management:
            hosts = ["--host", name] + [a for role in roles for a in ("--role", role)]
            sluice("cert", "issue", f"{LAB}/ca", "--name", name, *hosts)
            for file in f"{name}.crt", f"{name}.key", "ca.crt":
                os.link(f"{LAB}/ca/{file}", f"{LAB}/{name}/{file}")
            lines += [f"export SLUICE_TLS_CERT=/run/sluice/{name}.crt SLUICE_TLS_KEY=/run/sluice/{name}.key",
                      "export SLUICE_TLS_CA=/run/sluice/ca.crt"]
            if BMV2 and cls:
                lines += ["export SLUICE_TARGET=127.0.0.1:9559"]
            self.names[name] = management
        write(name, "env", "\n".join(lines) + "\n")
        n.cmd(". /run/sluice/env")  # for the prompt
        do(n, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 && ip link set lo up")
        if management:
            self.cable(n, "mgmt0", self.net["mgmt"], f"{management}/24")
        return n

    def cable(self, host, card, switch, address, port=None, gateway=None):
        params = {"ip": address} if address else {}
        self.net.addLink(host, switch, intfName1=card, params1=params, port2=port,
                         intfName2=f"port{port}" if port else None, addr1=address and mac(address.split("/")[0]))
        # Virtual cards leave checksums to hardware that is not there, and join frames to ones that no cable carries.
        do(host, f"ethtool -K {card} tx off tso off gso off gro off")
        if gateway:
            do(host, f"ip route add default via {gateway} dev {card}")

    def build(self):
        for bridge in "mgmt", "wan":
            self.ids += 1
            self.net.addSwitch(bridge, cls=Bridge, dpid=str(self.ids))
        router = self.node("router")
        do(router, "sysctl -qw net.ipv4.ip_forward=1")
        self.cable(router, "wan", self.net["wan"], "192.0.2.1/24")
        self.node("operator", "10.99.0.1", ["operator"])
        gslb = self.node("gslb", "10.99.0.2", ["gslb"])
        hosts = [(gslb, 54), (self.node("resolver"), 53)]
        hosts += [(self.node(name), 10 + i) for i, name in enumerate(CLIENTS, 1)]
        for host, last in hosts:
            self.cable(host, "eth0", self.net["wan"], f"192.0.2.{last}/24", gateway="192.0.2.1")
        for dc in DATA_CENTERS:
            self.data_center(dc, router)
        with open(f"{LAB}/hosts", "w") as f:
            f.write("127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for n, a in self.names.items()))
        with open(f"{LAB}/resolv.conf", "w") as f:
            f.write("nameserver 192.0.2.53\n")
        self.net.build()
        self.net.start()

    def data_center(self, dc, router):
        place = iter(range(10 * dc.number, 10 * dc.number + 10))
        switches = [self.node(dc.host(s), f"10.99.0.{next(place)}", cls=P4Switch) for s in dc.switches]
        for c in dc.controllers:
            self.node(dc.host(c), f"10.99.0.{next(place)}", ["controller"])
        if len(dc.controllers) > 1:
            self.node(dc.host("etcd"), f"10.99.0.{next(place)}")
        healthd = self.node(dc.host("healthd"), f"10.99.0.{next(place)}", ["healthd"])
        self.cable(router, dc.name, switches[0], dc.address(1) + "/24", port=1)
        self.cable(healthd, "eth0", switches[0], dc.address(2) + "/24", port=2)
        for i, name in enumerate(dc.servers):
            server = self.node(dc.host(name))
            self.cable(server, "eth0", switches[0], f"{dc.address(11 + i)}/24", port=3 + i, gateway=dc.address(1))
            # The VIP is there for the service, and nobody hears of it by ARP.
            do(server, f"ip address add {dc.vip}/32 dev lo && sysctl -qw"
                       " net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2")
        for i, switch in enumerate(switches[1:]):
            self.net.addLink(switches[0], switch, port1=20 + i, port2=1, intfName1=f"port{20 + i}", intfName2="port1")

    def roles(self):
        """Starts what is no switch, and waits until it works."""
        for dc in DATA_CENTERS:
            self.data_center_roles(dc)
        write("gslb", "gslb.yaml", gslb_config())
        give_role(self.net["gslb"], "sluice gslb --config gslb.yaml")
        write("resolver", "unbound.conf", UNBOUND)
        # AppArmor knows Debian's by its path, and would keep it from reading what is not in /etc/unbound.
        shutil.copy(shutil.which("unbound"), f"{LAB}/resolver/unbound")
        give_role(self.net["resolver"], "/run/sluice/unbound -d -c /run/sluice/unbound.conf")
        late = time.monotonic() + ANSWERS
        for dc in DATA_CENTERS:
            status = f"sluice status --controller https://{dc.host(dc.controllers[0])}:9680"
            self.until(late, "operator", f"{status}; [ $? -le 1 ]")  # nothing is critical
            for c in dc.controllers[1:]:  # after the first, which healthd and gslb know
                do(self.net[dc.host(c)], "role start")
            # Checks go through the switch. Asked before it works, they would move all that they will have to move back.
            do(self.net[dc.host("healthd")], "role start")
        for dc in DATA_CENTERS:
            status = f"sluice status --controller https://{dc.host(dc.controllers[0])}:9680"
            self.until(late, "operator", f"{status} | grep -q 'healthd  *last report'")
            self.until(late, "operator", f"{status} | grep -q '^web  *4096  *0 '")  # nothing moves
        self.until(late, "client1", "curl -sf http://www.example.com/")
        vips = " ".join(f"{dc.name}={dc.vip}:80" for dc in DATA_CENTERS)
        give_role(self.net[CLIENTS[1]], f"lab hold {vips}")
        self.until(late, CLIENTS[1], "lab held")

    def data_center_roles(self, dc):
        for name in dc.servers:
            server = self.net[dc.host(name)]
            write(server, "nginx.conf", NGINX % f"{name}.{dc.name}")
            give_role(server, "nginx -p /run/sluice -e error.log -c nginx.conf")
        store = "--data-dir data"
        if len(dc.controllers) > 1:
            etcd = dc.host("etcd")
            files = f"--%s-file /run/sluice/{etcd}.crt --%s-file /run/sluice/{etcd}.key --%s-file /run/sluice/ca.crt"
            tls = files % ("cert", "key", "trusted-ca") + " --client-cert-auth --enable-grpc-gateway=false"
            give_role(self.net[etcd], f"etcd --data-dir data {tls} --listen-client-urls https://0.0.0.0:2379"
                                      f" --advertise-client-urls https://{etcd}:2379")
            store = f"--etcd https://{etcd}:2379"
        for c in dc.controllers:
            node = self.net[dc.host(c)]
            write(node, "sluice.yaml", intent(dc))
            write(node, "command", f"sluice controller --config sluice.yaml {store}"
                  " --listen unix:/run/sluice/controller.sock --listen https://:9680"
                  + (" --insecure-plaintext" if BMV2 else "") + "\n")
        do(self.net[dc.host(dc.controllers[0])], "role start")
        write(dc.host("healthd"), "command", "sluice healthd"
              f" --name {dc.host('healthd')} --controller https://{dc.host(dc.controllers[0])}:9680\n")

    def until(self, late, host, command):
        """Repeats a command until it succeeds."""
        while True:
            code, printed = attempt(self.net[host], command)
            if code == 0:
                return
            if time.monotonic() > late:
                sys.exit(f"lab: {host} {command} does not succeed within {ANSWERS} s:\n{printed}")
            time.sleep(0.2)


def intent(dc):
    """The configuration of the controllers of a data center."""
    scheme = "" if BMV2 else "https://"
    servers = range(3, 3 + len(dc.servers))

    def at(port):
        """Where all others have what is behind a port of the first switch: they are cabled to that one by port 1."""
        if len(dc.switches) == 1:
            return port
        ports = [port] + [1] * (len(dc.switches) - 1)
        return "{" + ", ".join(f"{dc.host(s)}: {p}" for s, p in zip(dc.switches, ports)) + "}"

    text = "switches:\n"
    for i, s in enumerate(dc.switches):
        ports = [1] if i else [1, 2, *servers, *range(20, 19 + len(dc.switches))]
        text += f"  - {{name: {dc.host(s)}, address: \"{scheme}{dc.host(s)}:9559\", device_id: 1, ports: {ports}}}\n"
    text += f"""vip_mac: 02:53:4c:00:00:0{dc.number}
stations:
  - {{name: router, mac: "{mac(dc.address(1))}", switch_port: {at(1)}, addresses: [{dc.address(1)}]}}
  - {{name: {dc.host("healthd")}, mac: "{mac(dc.address(2))}", switch_port: {at(2)}, addresses: [{dc.address(2)}]}}
pools:
  - name: web
    drain_idle: 6s
    checks: [{{type: http, path: /healthz, interval: 1s, fast_interval: 250ms, timeout: 1s, fall: 2}}]
    backends:
"""
    for port, name in zip(servers, dc.servers):
        address = dc.address(8 + port)
        text += f"      - {{name: {name}, address: {address}, mac: \"{mac(address)}\", switch_port: {at(port)}}}\n"
    return text + f"vips:\n  - {{name: www, address: {dc.vip}, port: 80, pool: web}}\n"


def gslb_config():
    """Clients are sent to the first data center that works."""
    text = """server:
  listen: ["192.0.2.54:53"]
  control: {socket: /run/sluice/gslb.sock, listen: "https://:9683"}
domain_lists: [{name: www, domains: [www.example.com]}]
data_centers:
"""
    for dc in DATA_CENTERS:
        text += f"  - {{name: {dc.name}, controller: \"https://{dc.host(dc.controllers[0])}:9680\"}}\n"
    text += "answers:\n"
    for dc in DATA_CENTERS:
        text += f"""  - name: www-{dc.name}
    kind: vip
    data_center: {dc.name}
    ipv4: {dc.vip}
    controller_vip: www
    keepalives: [{{kind: http_head, timing: {{preset: custom, interval: 1s, timeout: 1s, failures: 3}}}}]
"""
    members = ", ".join(f"{{answer: www-{dc.name}}}" for dc in DATA_CENTERS)
    return text + f"""groups: [{{name: www, members: [{members}]}}]
rules: [{{name: www, domains: www, ttl: 2, clauses: [{{group: www, balance: ordered}}]}}]
zones:
  - name: example.com
    records:
      - {{name: "@", type: SOA, data: ns hostmaster 1 7200 900 1209600 2}}
      - {{name: "@", type: NS, data: ns}}
      - {{name: ns, type: A, data: 192.0.2.54}}
"""


UNBOUND = """server:
  interface: 192.0.2.53
  access-control: 192.0.2.0/24 allow
  module-config: "iterator"
  username: ""
  chroot: ""
  directory: "/run/sluice"
  pidfile: ""
  use-syslog: no
stub-zone:
  name: example.com
  stub-addr: 192.0.2.54
remote-control:
  control-enable: no
"""

NGINX = """daemon off;
worker_processes 1;
pid nginx.pid;
events {}
http {
  access_log off;
  client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
  keepalive_timeout 1h;
  keepalive_requests 1000000;
  server {
    listen 80;
    default_type text/plain;
    location / { return 200 "%s\\n"; }
    location = /healthz { return 200 "fine\\n"; }
  }
}
"""


def sluice(*args):
    subprocess.run(["sluice", *args], check=True, stdout=subprocess.DEVNULL)


class Prompt(CLI):
    """Mininet's prompt, as the page has it: a dash may be in the name of a host, and a host gets its command as it was
    typed. Mininet itself puts an address in place of each word that is a host's name, as in `sluice gslb status`."""

    identchars = CLI.identchars + "-"

    def default(self, line):
        host, command, line = self.parseline(line)
        if host in self.mn and command:
            self.mn[host].sendCmd(command)
            self.waitForNode(self.mn[host])
        else:
            super().default(line)


def main():
    setLogLevel("output")  # what commands print, and warnings
    print(f"building the lab: hosts and cables, and {'bmv2' if BMV2 else 'softswitch'} ...", flush=True)
    lab = Lab()
    lab.build()
    print("starting the roles, until all of them work ...", flush=True)
    lab.roles()
    with open(f"{LAB}/nodes", "w") as f:
        f.writelines(f"{n.name} {n.pid}\n" for n in lab.net.values() if n.inNamespace)
    if len(sys.argv) > 1:  # what to run in place of the prompt
        sys.exit(subprocess.run(sys.argv[1:]).returncode)
    subprocess.run(["lab", "try"], check=True)
    Prompt(lab.net)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell says it
