import { expect, it } from "vitest";
import { lateness } from "./lateness.ts";

it("goes by the latest of the last answers, once there are some, and neither below their usual time nor far beyond it", () => {
  const late = lateness();
  expect(late.beyondMs(40)).toBe(100);
  for (let count = 0; count < 7; count++) late.answered(120, 100, 120);
  expect(late.beyondMs(40)).toBe(100);
  late.answered(160, 100, 160);
  expect(late.beyondMs(40)).toBe(80);
  for (let count = 0; count < 31; count++) late.answered(10, 100, 10);
  expect(late.beyondMs(40)).toBe(80);
  late.answered(10, 100, 10);
  expect(late.beyondMs(40)).toBe(50);
  late.answered(5000, 0, 5000);
  expect(late.beyondMs(40)).toBe(200);
});

it("goes by the longest silence where all that waits is late at once, but not of what takes longer than all that was answered", () => {
  const late = lateness();
  late.answered(60, 30, 60);
  for (let count = 0; count < 20; count++) late.answered(40, 100, 40);
  expect(late.beyondMs(180)).toBe(225);
  expect(late.beyondMs(20)).toBe(50);
  expect(late.beyondMs(1000)).toBe(2500);
  // Quick answers of another model say nothing of how late the slow ones are.
  late.answered(600, 400, 10);
  for (let count = 0; count < 31; count++) late.answered(10, 10, 10);
  expect(late.beyondMs(400)).toBe(750);
});
