/* Send UDP datagrams of many flows as fast as one CPU can until SIGTERM; then say how many packets and IP octets went
 * out. usage: blast ADDRESS SOCKETS PORTS */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BATCH 64
#define HEADERS 28 /* IP and UDP */
#define MAX_PAYLOAD 1400

static struct mmsghdr messages[BATCH];
static struct sockaddr_in to[BATCH];
static struct iovec payload[BATCH];
static char bytes[MAX_PAYLOAD];

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

int main(int argc, char **argv)
{
	unsigned long long packets = 0, octets = 0;
	unsigned round = 0;

	if (argc != 4)
		return 2;
	int sockets = atoi(argv[2]), ports = atoi(argv[3]);
	int *fds = calloc(sockets, sizeof(int));

	signal(SIGTERM, stop);
	for (int i = 0; i < sockets; i++)
		if ((fds[i] = socket(AF_INET, SOCK_DGRAM, 0)) < 0)
			return perror("socket"), 1;
	for (int i = 0; i < BATCH; i++) {
		to[i].sin_family = AF_INET;
		inet_pton(AF_INET, argv[1], &to[i].sin_addr);
		payload[i].iov_base = bytes;
		messages[i].msg_hdr = (struct msghdr){
			.msg_name = &to[i], .msg_namelen = sizeof(to[i]), .msg_iov = &payload[i], .msg_iovlen = 1};
	}
	for (; !stopped; round++) {
		for (int i = 0; i < BATCH; i++) {
			to[i].sin_port = htons(1024 + (round / sockets * BATCH + i) % ports);
			payload[i].iov_len = (round * 31 + i * 7) % MAX_PAYLOAD;
		}
		int sent = sendmmsg(fds[round % sockets], messages, BATCH, 0);

		if (sent < 0)
			return perror("sendmmsg"), 1;
		for (int i = 0; i < sent; i++) {
			packets++;
			octets += HEADERS + messages[i].msg_len;
		}
	}
	printf("%llu %llu\n", packets, octets);
	return 0;
}
