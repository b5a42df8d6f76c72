import type { Random } from "@longshore/core";
import type { ChainFacts, Dag, DagTensor } from "../src/partition/index.ts";

/** A random graph of `nodes` nodes, some of whose tensors have several users and some of which are wanted at the end. */
export function randomDag(random: Random, nodes: number): Dag {
  const tensors: DagTensor[] = [];
  for (let producer = -1; producer < nodes; producer++) {
    const consumers: number[] = [];
    for (let node = producer + 1; node < nodes; node++) {
      const near = node - producer;
      if (consumers.length < 3 && random.next() < (near === 1 ? 0.7 : 0.5 / near)) consumers.push(node);
    }
    tensors.push({
      producer,
      consumers,
      kept: consumers.length === 0 ? producer >= 0 : random.next() < 0.15,
    });
  }
  return { nodes, tensors };
}

/** Seeded facts of a chain of tiers for a graph, in whole numbers so that draws are common. */
export function randomFacts(random: Random, dag: Dag, tiers: number): ChainFacts {
  const whole = (most: number): number => Math.floor(random.next() * (most + 1));
  const list = (length: number, most: number): number[] => Array.from({ length }, () => whole(most));
  const ascending = (length: number, most: number): number[] => list(length, most).sort((a, b) => a - b);
  return {
    dag,
    tiers: Array.from({ length: tiers }, (_unused, tier) => ({
      nodeMs: list(dag.nodes, 24 >> tier),
      spread: ascending(4, 3).map((extra) => 0.5 + 0.5 * extra),
      microsPerSecond: whole(3) * 1000,
    })),
    hops: Array.from({ length: tiers - 1 }, () => ({
      msPerByte: ascending(4, 4).map((one) => 0.25 * (1 + one)),
      fixedMs: ascending(4, 12),
      microsPerByte: whole(2),
    })),
    tensorBytes: list(dag.tensors.length, 20),
    nodeBytes: list(dag.nodes, 30),
    agreementRatio: list(dag.tensors.length, 4).map((loss) => 1 - loss / 100),
    watts: { active: 1 + whole(3), onAir: whole(3), waiting: 0.25 * whole(2) },
    millijoulesPerByte: 0.5 * whole(3),
  };
}
