#!/usr/bin/env bash
# Installs (Debian) and starts a real SLURM with accounting on this machine, for tests: two nodes,
# n1 and n2, and two partitions over them, main and urgent, which preempts main's jobs; and the same
# again, n3 and n4 with main2 and urgent2, so that two tests which drain or kill nodes can run side by
# side. Needs root; takes about half a minute; does nothing when it runs.
set -euo pipefail

if scontrol ping 2>/dev/null | grep -q 'is UP'; then
  exit 0
fi
if ! command -v slurmctld >/dev/null || ! command -v slurmdbd >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    slurm-wlm slurmdbd mariadb-server munge >/dev/null
fi
host=$(hostname -s)
# Ranks meet at the first node, by its name.
grep -q ' n1 n2 n3 n4$' /etc/hosts || echo '127.0.0.1 n1 n2 n3 n4' >>/etc/hosts

wait_for() { # SECONDS COMMAND...: until the command succeeds
  local left=$1
  shift
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || { echo "gave up waiting for: $*" >&2; return 1; }
    sleep 1
  done
}
authenticated() { munge -n | unmunge; }
nodes_idle() { [ "$(sinfo -h -N -t idle -o %N | wc -l)" -ge 4 ]; }

install -d -o munge -g munge -m 755 /run/munge
pgrep -x munged >/dev/null || runuser -u munge -- munged
wait_for 10 authenticated

install -d -o mysql -g mysql /run/mysqld
if ! mysqladmin ping >/dev/null 2>&1; then
  setsid mariadbd-safe --user=mysql --bind-address=127.0.0.1 >/dev/null 2>&1 </dev/null &
fi
wait_for 30 mysqladmin ping
mysql -e "CREATE DATABASE IF NOT EXISTS slurm_acct_db;
  CREATE USER IF NOT EXISTS 'slurm'@'localhost' IDENTIFIED BY 'slurm';
  GRANT ALL ON slurm_acct_db.* TO 'slurm'@'localhost';"

install -d /etc/slurm /var/spool/slurmctld /var/spool/slurmd /var/log/slurm
install -m 600 /dev/null /etc/slurm/slurmdbd.conf
cat >/etc/slurm/slurmdbd.conf <<EOF
AuthType=auth/munge
DbdHost=localhost
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
LogFile=/var/log/slurm/slurmdbd.log
PidFile=/run/slurmdbd.pid
EOF
cat >/etc/slurm/slurm.conf <<EOF
ClusterName=test
SlurmctldHost=$host
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd/%n
SlurmdPidFile=/run/slurmd-%n.pid
SlurmctldPidFile=/run/slurmctld.pid
SlurmdLogFile=/var/log/slurm/slurmd-%n.log
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStorageEnforce=limits
JobRequeue=1
MpiDefault=none
KillWait=10
SlurmdTimeout=10
SchedulerParameters=sched_interval=3,bf_interval=3
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n[1-4] NodeHostname=$host NodeAddr=127.0.0.1 Port=[17001-17004] CPUs=2 RealMemory=8000
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=n[1-2] MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF
PartitionName=main2 Nodes=n[3-4] MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60
PartitionName=urgent2 Nodes=n[3-4] MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF
EOF
pgrep -x slurmdbd >/dev/null || slurmdbd
wait_for 20 sacctmgr -n list cluster
pgrep -x slurmctld >/dev/null || slurmctld
wait_for 20 sinfo
for node in n1 n2 n3 n4; do
  install -d "/var/spool/slurmd/$node"
  slurmd -N "$node"
done
wait_for 30 nodes_idle
sinfo
