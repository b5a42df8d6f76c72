import { expect, it } from "vitest";
import { lateness } from "./lateness.ts";

it("goes by the latest of the last answers, once there are some, and neither below their usual time nor far beyond it", () => {
  const late = lateness();
  expect(late.beyondMs(40)).toBe(100);
  for (let count = 0; count < 7; count++) late.answered(120, 100);
  expect(late.beyondMs(40)).toBe(100);
  late.answered(160, 100);
  expect(late.beyondMs(40)).toBe(80);
  for (let count = 0; count < 31; count++) late.answered(10, 100);
  expect(late.beyondMs(40)).toBe(80);
  late.answered(10, 100);
  expect(late.beyondMs(40)).toBe(50);
  late.answered(5000, 0);
  expect(late.beyondMs(40)).toBe(200);
});

it("goes by the longest silence where more is feared, but not of what takes longer than all that was answered", () => {
  const late = lateness();
  late.answered(60, 30);
  for (let count = 0; count < 20; count++) late.answered(40, 100);
  expect(late.beyondMs(180)).toBe(225);
  expect(late.beyondMs(20)).toBe(50);
  expect(late.beyondMs(1000)).toBe(2500);
});
